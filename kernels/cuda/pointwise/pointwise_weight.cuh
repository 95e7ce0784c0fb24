// dw[k, c] = dy[m, k]^T x[m, c] on tensor cores, one dw for each part of the rows.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_fragments.cuh"

namespace dfengine::cuda {

// The rows of a product of both gradients, cut into parts that each make a dw.
struct RowParts {
  Index count, rows;

  // So many columns of blocks, at most two blocks on each multiprocessor of an H100, and no part so
  // short that its dw is most of its bytes. A part is a multiple of depth rows.
  static RowParts of(Index m, Index depth, Index column_blocks) {
    constexpr Index kBlocks = 264, kShortest = 4;
    const Index most = std::max<Index>(kBlocks / column_blocks, 1);
    const Index wanted = std::clamp<Index>(m / (kShortest * depth), 1, most);
    const Index rows = round_up(divide_up(m, wanted), depth);
    return {divide_up(m, rows), rows};
  }
};

template <class T>
struct WeightProduct {
  const T* x;   // [m, c]
  const T* dy;  // [m, k]
  float* dw;    // [parts, k, c]
  int m, c, k;
  int c_tiles;
  int rows_per_part;
  NormOnLoad norm;  // of x
};

template <class Tile>
struct WeightShared {
  static constexpr int kDyPitch = Tile::kRows + kPad, kXPitch = Tile::kColumns + kPad;
  static constexpr int kDy = Tile::kDepth * kDyPitch;
  static constexpr int kStage = kDy + Tile::kDepth * kXPitch;
  static constexpr std::size_t kBytes = 2 * Tile::kStages * kStage;
  // Warps that share results hand them over in the ring.
  static_assert(Tile::kWarpDepths == 1 || kBytes >= 4 * Tile::kRows * Tile::kColumns);
};

// Which results a warp makes, and at which depths it begins.
struct Part {
  int row, column, depth;
};

template <class Tile>
__device__ __forceinline__ Part part_of(int warp) {
  return {.row = warp / Tile::kWarpColumns % Tile::kWarpRows * Tile::kPartRows,
          .column = warp % Tile::kWarpColumns * Tile::kPartColumns,
          .depth = warp / (Tile::kWarpColumns * Tile::kWarpRows) * 16};
}

template <class Tile, class T>
__device__ __forceinline__ void multiply_weight_stage(const T* stage, Part part, int lane,
                                                      Sums<Tile>& sums) {
  using Shared = WeightShared<Tile>;
  const T* const dy = stage + part.row;
  const T* const x = stage + Shared::kDy + part.column;
#pragma unroll
  for (int i = 0; i < Tile::kDepth; i += 16 * Tile::kWarpDepths) {
    const int d = part.depth + i;
    multiply_step<T, Tile>(
        sums,
        [&](int j, std::uint32_t(&to)[4]) {
          load_a_transposed(to, dy + d * Shared::kDyPitch + 16 * j, Shared::kDyPitch, lane);
        },
        [&](int j, std::uint32_t(&to)[4]) {
          load_b_transposed(to, x + d * Shared::kXPitch + 16 * j, Shared::kXPitch, lane);
        });
  }
}

// Adds the sums of the warps that share a part, in order, to those of the first. All threads call
// it, after the last use of what lies in `shared`.
template <class Tile>
__device__ __forceinline__ void add_depths(int warp, int lane, float* shared, Sums<Tile>& sums) {
  constexpr int kParts = Tile::kWarpRows * Tile::kWarpColumns;
  float* const mine = shared + warp % kParts * (Tile::kPartRows * Tile::kPartColumns) + lane;
  const int own = warp / kParts;
  for (int from = 1; from < Tile::kWarpDepths; ++from) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Tile::kFragmentRows; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kFragmentColumns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (own == from)
            mine[((i * Tile::kFragmentColumns + j) * 4 + e) * kWarpSize] = sums[i][j][e];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Tile::kFragmentRows; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kFragmentColumns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (own == 0)
            sums[i][j][e] += mine[((i * Tile::kFragmentColumns + j) * 4 + e) * kWarpSize];
      }
    }
  }
}

// dw [rows, columns] is that of this part of the rows of x. row and column are the first of the
// warp.
template <class Tile>
__device__ __forceinline__ void store_weight_sums(int rows, int columns, int row, int column,
                                                  int lane, const Sums<Tile>& sums, float* dw) {
#pragma unroll
  for (int i = 0; i < Tile::kFragmentRows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kFragmentColumns; ++j) {
      const int c = column + 8 * j + lane % 4 * 2;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int k = row + 16 * i + 8 * half + lane / 4;
        if (k >= rows || c >= columns) continue;
        float* const to = dw + Index{k} * columns + c;
        to[0] = sums[i][j][2 * half];
        to[1] = sums[i][j][2 * half + 1];
      }
    }
  }
}

// A block makes one tile (blockIdx.x) of the dw of one part (blockIdx.y).
template <class T, class Tile, bool kNorm>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) weight_kernel(WeightProduct<T> p) {
  await_previous_kernels();
  using Shared = WeightShared<Tile>;
  DF_DYNAMIC_SHARED(shared);
  T* const ring = reinterpret_cast<T*>(shared);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int k0 = static_cast<int>(blockIdx.x) / p.c_tiles * Tile::kRows;
  const int c0 = static_cast<int>(blockIdx.x) % p.c_tiles * Tile::kColumns;
  const int first = static_cast<int>(blockIdx.y) * p.rows_per_part;
  const int last = p.m - first < p.rows_per_part ? p.m : first + p.rows_per_part;
  const int steps = (last - first + Tile::kDepth - 1) / Tile::kDepth;
  const auto copy = [&](int step) {
    T* const stage = ring + step % Tile::kStages * Shared::kStage;
    const int row = first + step * Tile::kDepth;
    if (step < steps) {
      copy_tile<Tile::kDepth, Tile::kRows, Tile::kThreads>(p.dy, row, last, k0, p.k, stage);
      copy_tile<Tile::kDepth, Tile::kColumns, Tile::kThreads>(p.x, row, last, c0, p.c,
                                                              stage + Shared::kDy);
    }
    copy_async_commit();
  };
  for (int step = 0; step < Tile::kStages - 1; ++step) copy(step);

  const Part part = part_of<Tile>(warp);
  Sums<Tile> sums = {};
  for (int step = 0; step < steps; ++step) {
    copy_async_wait<Tile::kStages - 2>();
    if constexpr (kNorm)
      normalise_tile<Tile::kDepth, Tile::kColumns, Tile>(
          p.norm, first + step * Tile::kDepth, last, c0, p.c,
          ring + step % Tile::kStages * Shared::kStage + Shared::kDy);
    __syncthreads();
    copy(step + Tile::kStages - 1);
    multiply_weight_stage<Tile>(ring + step % Tile::kStages * Shared::kStage, part, lane, sums);
  }
  add_depths<Tile>(warp, lane, reinterpret_cast<float*>(shared), sums);
  if (part.depth == 0)
    store_weight_sums<Tile>(p.k, p.c, k0 + part.row, c0 + part.column, lane, sums,
                            p.dw + Index{blockIdx.y} * p.k * p.c);
}

// parts [config.parts, K, C] holds one dw per part. Sizes are below 2^31 - 256.
template <class T>
void multiply_weight(Stream stream, const PointwiseWeightConfig& config, const PointwiseProblem& p,
                     const T* x, const T* dy, float* parts, const NormOnLoad& norm) {
  with_tile(config.tile, [&](auto tile) {
    using Tile = decltype(tile);
    const Index c_tiles = divide_up(p.c, Tile::kColumns);
    dim3 grid = blocks(divide_up(p.k, Tile::kRows) * c_tiles);
    grid.y = static_cast<unsigned>(config.parts);
    const WeightProduct<T> product = {.x = x,
                                      .dy = dy,
                                      .dw = parts,
                                      .m = static_cast<int>(p.m),
                                      .c = static_cast<int>(p.c),
                                      .k = static_cast<int>(p.k),
                                      .c_tiles = static_cast<int>(c_tiles),
                                      .rows_per_part = static_cast<int>(config.rows_per_part),
                                      .norm = norm};
    launch(stream, "pointwise_backward_weight",
           norm.present() ? weight_kernel<T, Tile, true> : weight_kernel<T, Tile, false>, grid,
           Tile::kThreads, WeightShared<Tile>::kBytes, product);
  });
}

}  // namespace dfengine::cuda
