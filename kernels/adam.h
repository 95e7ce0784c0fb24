// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019) as PyTorch writes them:
//   Adam:  g += decay * w          AdamW: w -= lr * decay * w
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//   w -= lr / (1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)
#pragma once

#include <cstdint>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

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

// On the device one launch serves a whole parameter block: learned values and running statistics.
namespace cuda {

// Up to kAdamChunk neighbouring elements that are treated alike.
inline constexpr Index kAdamChunk = 2048;
struct AdamChunk {
  Index offset = 0;
  std::int32_t count = 0;
  float weight_decay = 0.0f;
  // Running statistics: the next value becomes the value.
  bool commit = false;
  float rate = 1.0f;  // part of the learning rate
};

// When scalars->overflow is 0: the update of p (whose lr and step are not read) with t =
// scalars->step + 1, lr = input->learning_rate and gradients divided by scalars->loss_scale; else
// nothing. grad, m and v cover the learned values, which come first in the block; next covers the
// running statistics, which begin at element `learned`. w and working cover the whole block;
// working, when not null, gets each new value in T (Half or BFloat16; float: pass null).
template <class T>
void adam_update(Stream stream, const AdamProblem& p, const StepScalars* scalars,
                 const StepInput* input, const AdamChunk* chunks, Index chunk_count,
                 const float* grad, const float* next, Index learned, float* w, float* m, float* v,
                 T* working);

}  // namespace cuda
}  // namespace dfengine
