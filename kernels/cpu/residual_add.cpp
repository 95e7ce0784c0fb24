// Residual addition: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/residual_add.h"

#include <type_traits>

#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

template <class T>
void residual_add(const Context& ctx, Index count, const T* a, const T* b, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_residual_add_table<T>().forward(ctx, count, a, b, y);
  } else {
    for (Index i = 0; i < count; ++i) y[i] = a[i] + b[i];
  }
}

template <class T>
void residual_add_backward(const Context& ctx, Index count, const T* dy, Write write, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    current_residual_add_table<T>().backward(ctx, count, dy, write, dx);
  } else {
    for (Index i = 0; i < count; ++i) dx[i] = write == Write::Accumulate ? dx[i] + dy[i] : dy[i];
  }
}

DF_EVERY_ELEMENT(residual_add);
DF_EVERY_ELEMENT(residual_add_backward);

}  // namespace dfengine::cpu
