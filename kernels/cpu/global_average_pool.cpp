// Global average pool: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/global_average_pool.h"

#include <type_traits>

#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

template <class T>
void global_average_pool_forward(const Context& ctx, const Shape& x_shape, const T* x,
                                 SumOf<T>* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_global_average_pool_table<T>().forward(ctx, x_shape, x, y);
  } else {
    const Index pixels = x_shape.h * x_shape.w, c = x_shape.c;
    for (Index n = 0; n < x_shape.n; ++n) {
      for (Index i = 0; i < c; ++i) {
        T sum = 0;
        for (Index p = 0; p < pixels; ++p) sum += x[(n * pixels + p) * c + i];
        y[n * c + i] = sum / static_cast<T>(pixels);
      }
    }
  }
}

template <class T>
void global_average_pool_backward(const Context& ctx, const Shape& x_shape, const SumOf<T>* dy,
                                  Write write, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    current_global_average_pool_table<T>().backward(ctx, x_shape, dy, write, dx);
  } else {
    const Index pixels = x_shape.h * x_shape.w, c = x_shape.c;
    for (Index row = 0; row < x_shape.rows(); ++row) {
      for (Index i = 0; i < c; ++i) {
        const T g = dy[row / pixels * c + i] / static_cast<T>(pixels);
        T& out = dx[row * c + i];
        out = write == Write::Accumulate ? out + g : g;
      }
    }
  }
}

DF_EVERY_ELEMENT(global_average_pool_forward);
DF_EVERY_ELEMENT(global_average_pool_backward);

}  // namespace dfengine::cpu
