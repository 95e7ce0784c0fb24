// The pointwise data gradient behind the activation of the norm of x, which leaves its sums to that
// norm.
#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_gradient.cuh"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_requirements.h"

namespace dfengine::cuda {
namespace {

// The grid is a multiple of the column tiles, so that all tiles of a block have the same columns.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gradient_sums_kernel(Product<T> p, const T* __restrict__ x, NormOnLoad norm, float* parts) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(shared);
  const KeptGradientSums<Tile> kept(shared + ProductShared<PaddedRing<Tile, true>>::kBytes);
  kept.clear();
  p.epilogue = {};
  const int column = static_cast<int>(blockIdx.x) % p.column_tiles * Tile::kColumns;
  multiply_tiles<T, PaddedRing<Tile, true>, false>(
      p, shared, [&](int row, T* out, int warp, int lane) {
        const int first = column + warp % Tile::kWarpColumns * Tile::kPartColumns;
        if (row < p.rows)
          take_slice(kept, norm, x + Index{row} * p.columns + first, p.columns, first, p.rows - row,
                     warp, lane, out);
      });
  write_part(kept, column, p.columns, parts + Index{blockIdx.x} / p.column_tiles * 2 * p.columns);
}

}  // namespace

template <class T>
void pointwise_gradient_sums(Stream stream, const PointwiseConfig& config,
                             const PointwiseProblem& p, const T* dy, const T* w, const T* x,
                             const NormOnLoad& norm, T* dx, const GradientSums& sums) {
  require_tensor_cores(p, {dy, w, x, norm.scale, norm.shift, norm.mean, dx, sums.values});
  require_parts(sums.parts, row_parts(config, p.m, p.c));
  Product<T> product{.a = dy,
                     .b = w,
                     .epilogue = {},
                     .y = dx,
                     .rows = static_cast<int>(p.m),
                     .columns = static_cast<int>(p.c),
                     .depth = static_cast<int>(p.k)};
  with_tile(config.tile, [&](auto tile) {
    using Tile = decltype(tile);
    if constexpr (KeptGradientSums<Tile>::kHasRoom) {
      count_tiles<Tile>(product);
      launch(stream, "pointwise_gradient_sums", gradient_sums_kernel<T, Tile>,
             blocks(sums.parts * product.column_tiles), Tile::kThreads,
             ProductShared<PaddedRing<Tile, true>>::kBytes + KeptGradientSums<Tile>::kBytes,
             product, x, norm, sums.values);
    } else {
      throw Error("pointwise_gradient_sums: this tile has no room for sums");
    }
  });
}

#define DF_INSTANTIATE(T)                                                                        \
  template void pointwise_gradient_sums(Stream, const PointwiseConfig&, const PointwiseProblem&, \
                                        const T*, const T*, const T*, const NormOnLoad&, T*,     \
                                        const GradientSums&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
