// The shared memory that the tiles of pointwise_config.h need, which the kernels know.
#include <algorithm>
#include <limits>

#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_gradient.cuh"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"

namespace dfengine::cuda {

std::size_t shared_memory_of(PointwiseTile tile, Beside beside) {
  return with_tile(tile, [=](auto t) {
    using Tile = decltype(t);
    constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
    if (beside == Beside::Moments)
      return KeptMoments<Tile>::kHasRoom
                 ? ProductShared<PaddedRing<Tile, false>>::kBytes + KeptMoments<Tile>::kBytes
                 : kNone;
    if (beside == Beside::GradientSums)
      return KeptGradientSums<Tile>::kHasRoom
                 ? ProductShared<PaddedRing<Tile, true>>::kBytes + KeptGradientSums<Tile>::kBytes
                 : kNone;
    return std::max(ProductShared<PaddedRing<Tile, false>>::kBytes,
                    ProductShared<PaddedRing<Tile, true>>::kBytes);
  });
}

std::size_t shared_memory_of(PointwiseWeightTile tile) {
  return with_tile(tile, [](auto t) { return WeightShared<decltype(t)>::kBytes; });
}

}  // namespace dfengine::cuda
