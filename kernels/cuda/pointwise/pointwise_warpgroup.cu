// Compiled for sm_90a alone (kernels/cuda/cuda.cmake).
#include "kernels/cuda/pointwise/pointwise_warpgroup.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_requirements.h"
#include "kernels/cuda/wgmma.cuh"

namespace dfengine::cuda {
namespace {

constexpr Index kMultiprocessors = 132;  // of an H100
constexpr int kMostWithMoments = 80;     // columns

// Two groups of four warps, a warp for each 16 rows.
template <int kColumns>
using WarpgroupTileOf = Tile<128, kColumns, kSwizzledDepth, 8, 1, 1, 3, 2>;

template <class Body>
auto with_tile(WarpgroupTile tile, Body&& body) {
  switch (tile) {
    case WarpgroupTile::k128x64:
      return body(WarpgroupTileOf<64>{});
    case WarpgroupTile::k128x80:
      return body(WarpgroupTileOf<80>{});
    case WarpgroupTile::k128x96:
      break;
  }
  return body(WarpgroupTileOf<96>{});
}

// Both factors lie as the tensor cores read them.
template <class Tile_>
struct SwizzledRing {
  using Tile = Tile_;
  struct LayoutOfA {
    static __device__ __forceinline__ int place(int row, int column) {
      return place_in_swizzled(row, column);
    }
  };
  static constexpr int kA = Tile::kRows * kSwizzledDepth;
  static constexpr int kStage = kA + Tile::kColumns * kSwizzledDepth;
  static constexpr std::size_t kAlignment = kSwizzleAlignment;
  static constexpr bool kNormalises = true;
  static_assert(Tile::kColumns % 8 == 0 && Tile::kFragmentRows == 1 && Tile::kWarpColumns == 1);

  static __device__ __forceinline__ std::byte* begin(std::byte* shared) {
    return align_for_swizzle(shared);
  }

  template <class T>
  static __device__ __forceinline__ void copy(const Product<T>& p, Place place, bool with_b,
                                              T* stage) {
    const int depth = place.step * kSwizzledDepth;
    copy_rows<Tile::kRows>(p.a, place.tile / p.column_tiles * Tile::kRows, p.rows, depth, p.depth,
                           stage);
    if (!with_b) return;
    copy_rows<Tile::kColumns>(p.b, place.tile % p.column_tiles * Tile::kColumns, p.columns, depth,
                              p.depth, stage + kA);
  }

  static __device__ __forceinline__ void publish() { publish_to_products(); }

  template <class T, class CopyNext>
  static __device__ __forceinline__ void multiply(const T* ring, int stage, int row, int, int,
                                                  Sums<Tile>& sums, CopyNext&& copy_next) {
    const T* const step = ring + stage * kStage;
    const T* const a = step + row / kWarpgroupRows * kWarpgroupRows * kSwizzledDepth;
    begin_products(sums[0]);
#pragma unroll
    for (int d = 0; d < kSwizzledDepth; d += 16) start_product(sums[0], a, step + kA, d);
    commit_products();
    copy_next();
    wait_for_products(sums[0]);
  }

 private:
  // As copy_tile; the threads' rows are a multiple of eight apart, so each has one place in all.
  template <int kRows, class T>
  static __device__ __forceinline__ void copy_rows(const T* matrix, int row, int rows, int column,
                                                   int columns, T* to) {
    using Own = OwnVectors<kRows, kSwizzledDepth, Tile::kThreads>;
    static_assert(Own::kOneColumn && Own::kRowsApart % 8 == 0);
    const int first = static_cast<int>(threadIdx.x) / Own::kPerRow;
    const int own = static_cast<int>(threadIdx.x) % Own::kPerRow * kVector;
    const int valid_rows = column + own < columns ? rows - row : 0;
    matrix += Index{row} * columns + (column + own);
    to += place_in_swizzled(first, own) - first * kSwizzledDepth;
    for_each_own_vector<kRows, kSwizzledDepth, Tile::kThreads>([&](int r, int) {
      copy_async16(to + r * kSwizzledDepth, matrix + Index{r} * columns, r < valid_rows);
    });
  }
};

}  // namespace

TileSize size_of(WarpgroupTile tile) {
  return with_tile(tile, [](auto t) {
    return TileSize{.rows = t.kRows, .columns = t.kColumns, .depth = t.kDepth};
  });
}

std::vector<WarpgroupConfig> warpgroup_configs(const PointwiseProblem& p, Beside beside) {
  std::vector<WarpgroupConfig> configs;
  if (!has_warpgroups()) return configs;
  for (WarpgroupTile tile : kWarpgroupTiles) {
    const TileSize size = size_of(tile);
    if (beside == Beside::Moments && size.columns > kMostWithMoments) continue;
    if (round_up(p.m, size.rows) * round_up(p.k, size.columns) <= 2 * p.m * p.k)
      configs.push_back({.tile = tile, .blocks = with_tile(tile, [](auto t) {
                                         return kMultiprocessors * t.kBlocks;
                                       })});
  }
  return configs;
}

Index row_parts(const WarpgroupConfig& config, Index rows, Index columns) {
  const TileSize size = size_of(config.tile);
  return std::clamp(config.blocks / divide_up(columns, size.columns), Index{1},
                    divide_up(rows, size.rows));
}

std::string name_of(const WarpgroupConfig& config) {
  const TileSize size = size_of(config.tile);
  return "warpgroup " + std::to_string(size.rows) + "x" + std::to_string(size.columns);
}

template <class T>
void pointwise_forward(Stream stream, const WarpgroupConfig& config, const PointwiseProblem& p,
                       const T* x, const T* w, const Epilogue<T, float>& epilogue, T* y,
                       const NormOnLoad& norm) {
  require_tensor_cores(p, {x, w, epilogue.residual, y, norm.scale, norm.shift});
  with_tile(config.tile, [&](auto t) {
    multiply<SwizzledRing<decltype(t)>>(stream, "pointwise_forward by warpgroups", config.blocks,
                                        forward_product(p, x, w, epilogue, norm, y));
  });
}

template <class T>
void pointwise_forward_moments(Stream stream, const WarpgroupConfig& config,
                               const PointwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments) {
  require_tensor_cores(p, {x, w, y, norm.scale, norm.shift, moments.values});
  require_parts(moments.parts, row_parts(config, p.m, p.k));
  with_tile(config.tile, [&](auto t) {
    using Tile = decltype(t);
    if constexpr (Tile::kColumns <= kMostWithMoments)
      multiply_with_moments<SwizzledRing<Tile>>(stream, "pointwise_forward_moments by warpgroups",
                                                forward_product<T>(p, x, w, {}, norm, y), moments);
    else
      throw Error("pointwise convolution on the device: this tile has no room for moments");
  });
}

#define DF_INSTANTIATE(T)                                                                          \
  template void pointwise_forward(Stream, const WarpgroupConfig&, const PointwiseProblem&,         \
                                  const T*, const T*, const Epilogue<T, float>&, T*,               \
                                  const NormOnLoad&);                                              \
  template void pointwise_forward_moments(Stream, const WarpgroupConfig&, const PointwiseProblem&, \
                                          const T*, const T*, const NormOnLoad&, T*,               \
                                          const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
