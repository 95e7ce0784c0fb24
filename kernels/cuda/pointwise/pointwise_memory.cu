// The shared memory that the tiles of pointwise_config.h need, which the kernels know.
#include <algorithm>
#include <limits>

#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"

namespace dfengine::cuda {

std::size_t shared_memory_of(PointwiseTile tile, YMoments moments) {
  return with_tile(tile, [=](auto t) {
    using Tile = decltype(t);
    if (moments == YMoments::Made)
      return KeptMoments<Tile>::kHasRoom ? ProductShared<Tile, false>::kBytesWithMoments
                                         : std::numeric_limits<std::size_t>::max();
    return std::max(ProductShared<Tile, false>::kBytes, ProductShared<Tile, true>::kBytes);
  });
}

std::size_t shared_memory_of(PointwiseWeightTile tile) {
  return with_tile(tile, [](auto t) { return WeightShared<decltype(t)>::kBytes; });
}

}  // namespace dfengine::cuda
