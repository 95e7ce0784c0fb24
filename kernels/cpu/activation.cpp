// ReLU and ReLU6: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/activation.h"

#include <type_traits>

#include "kernels/activation_function.h"
#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

template <class T>
void activation_forward(const Context& ctx, Activation act, Index count, const T* x, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_activation_table<T>().forward(ctx, act, count, x, y);
  } else {
    for (Index i = 0; i < count; ++i) y[i] = activate(act, x[i]);
  }
}

template <class T>
void activation_backward(const Context& ctx, Activation act, Index count, const T* y, const T* dy,
                         Write write, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    current_activation_table<T>().backward(ctx, act, count, y, dy, write, dx);
  } else {
    for (Index i = 0; i < count; ++i) {
      const T g = passes_gradient(act, y[i]) ? dy[i] : T{0};
      dx[i] = write == Write::Accumulate ? dx[i] + g : g;
    }
  }
}

DF_EVERY_ELEMENT(activation_forward);
DF_EVERY_ELEMENT(activation_backward);

}  // namespace dfengine::cpu
