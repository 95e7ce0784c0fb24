// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019) as PyTorch writes them:
//   Adam:  g += decay * w          AdamW: w -= lr * decay * w
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//   w -= lr / (1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)
#pragma once

#include <cstdint>

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine {

struct AdamProblem {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  bool decoupled = false;  // AdamW
  std::int64_t step = 1;   // t, counted from 1
};

namespace cpu {

// One contiguous run of parameters; w, m, v updated in place.
template <class T>
void adam_update(const Context& ctx, const AdamProblem& p, Index count, const T* grad, T* w, T* m,
                 T* v);

}  // namespace cpu
}  // namespace dfengine
