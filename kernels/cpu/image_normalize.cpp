// Pixels to network input: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/image_normalize.h"

#include <type_traits>

#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

template <class T>
void image_normalize(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_image_normalize_table<T>().normalize(ctx, rows, mean, std_dev, x, y);
  } else {
    for (Index i = 0; i < rows * 3; ++i) y[i] = (x[i] / 255.0 - mean[i % 3]) / std_dev[i % 3];
  }
}

DF_EVERY_ELEMENT(image_normalize);

}  // namespace dfengine::cpu
