// Adam and AdamW: float goes to the vectorised table, double is the plain oracle.
#include "kernels/adam.h"

#include <cmath>
#include <type_traits>

#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

template <class T>
void adam_update(const Context& ctx, const AdamProblem& p, Index count, const T* grad, T* w, T* m,
                 T* v) {
  if constexpr (std::is_same_v<T, float>) {
    current_adam_table().update(ctx, p, count, grad, w, m, v);
  } else {
    const T t = static_cast<T>(p.step);
    const T correction1 = 1 - std::pow(p.beta1, t);
    const T correction2 = 1 - std::pow(p.beta2, t);
    for (Index i = 0; i < count; ++i) {
      T g = grad[i];
      if (p.decoupled) {
        w[i] -= p.lr * p.weight_decay * w[i];
      } else {
        g += p.weight_decay * w[i];
      }
      m[i] = p.beta1 * m[i] + (1 - p.beta1) * g;
      v[i] = p.beta2 * v[i] + (1 - p.beta2) * g * g;
      w[i] -= p.lr * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + p.eps);
    }
  }
}

DF_FLOAT_AND_DOUBLE(adam_update);

}  // namespace dfengine::cpu
