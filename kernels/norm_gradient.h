// The gradient of a batch norm with batch statistics, made by the convolutions around it. The one
// that reads its result on load (kernels/norm_on_load.h) makes g, the gradient behind the
// activation, which is zero where the activation passes none, and adds up what the batch norm needs
// of g. The batch norm makes three vectors of these sums, and
//   dx = scale * g + slope * x + offset
// is its gradient, by the formula of kernels/batch_norm.h. It may leave this last step to the
// convolution that made x, which computes it in float as it loads g and x.
#pragma once

#include "kernels/base/shape.h"

namespace dfengine {

// Of a tensor [M, C] over parts of its rows, the sums of g and of g * (x - mean). Whoever needs
// them of all rows adds the parts in their order.
struct GradientSums {
  static constexpr Index bytes(Index parts, Index c) { return parts * 2 * c * kFloatBytes; }
  static constexpr GradientSums in(float* memory, Index bytes, Index c) {
    return {bytes / (2 * c * kFloatBytes), memory};
  }

  Index parts = 0;
  float* values = nullptr;  // [parts, 2, C], aligned to 16 bytes
};

struct GradientOnLoad {
  static constexpr Index kVectors = 3;
  static constexpr Index bytes(Index c) { return kVectors * c * kFloatBytes; }

  // [kVectors, C]: scale, slope and offset, aligned to 16 bytes; null where the gradient is loaded
  // as it is.
  const float* factors = nullptr;
  constexpr bool present() const { return factors != nullptr; }
};

}  // namespace dfengine
