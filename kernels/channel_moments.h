// Mean and spread of each channel of a tensor [M, C] over parts of its rows: what the kernel that
// writes the tensor leaves to the batch norm that reads it, which then need not read it once more.
// Whoever needs them of all rows merges the parts in their order by the formula of Chan, Golub &
// LeVeque 1979, so that nothing cancels where a mean is large against the deviation.
#pragma once

#include "kernels/base/shape.h"

namespace dfengine {

struct ChannelMoments {
  // In front of a part's vectors, so that these are aligned to 16 bytes.
  static constexpr Index kHead = 8;
  static constexpr Index pitch(Index c) { return kHead + 2 * c; }
  // Of memory for so many parts.
  static constexpr Index bytes(Index parts, Index c) { return parts * pitch(c) * kFloatBytes; }
  static constexpr ChannelMoments in(float* memory, Index bytes, Index c) {
    return {bytes / (pitch(c) * kFloatBytes), memory};
  }

  Index parts = 0;
  // [parts, pitch]: of each part the number of its rows, and behind the head the means [C] and the
  // sums of squares around them [C]. Aligned to 16 bytes.
  float* values = nullptr;
  constexpr bool present() const { return values != nullptr; }
};

}  // namespace dfengine
