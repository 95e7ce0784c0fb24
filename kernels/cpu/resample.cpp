// Weighted sums of levels (see kernels/resample.h): chooses the instruction set's form.
#include "kernels/resample.h"

#include "kernels/cpu/simd/tables.h"

namespace dfengine::cpu {

void resample_row(const ResampleAxis& axis, const std::uint8_t* x, std::uint8_t* y) {
  current_resample_table().row(axis, x, y);
}

void resample_column(Index n, Index taps, const std::int32_t* weights, Index stride,
                     const std::uint8_t* x, std::uint8_t* y) {
  current_resample_table().column(n, taps, weights, stride, x, y);
}

}  // namespace dfengine::cpu
