// The shared memory that the tiles of pointwise_config.h need, which the kernels know.
#include <algorithm>

#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"

namespace dfengine::cuda {

std::size_t shared_memory_of(PointwiseTile tile) {
  return with_tile(tile, [](auto t) {
    using Tile = decltype(t);
    return std::max(ProductShared<Tile, false>::kBytes, ProductShared<Tile, true>::kBytes);
  });
}

std::size_t shared_memory_of(PointwiseWeightTile tile) {
  return with_tile(tile, [](auto t) { return WeightShared<decltype(t)>::kBytes; });
}

}  // namespace dfengine::cuda
