// y[rows, columns] = epilogue(a[rows, depth] b) on tensor cores: the pointwise forward
// (b = w[columns, depth] transposed) and data gradient (b = w[depth, columns]).
#pragma once

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pointwise/pointwise_columns.cuh"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_ring.cuh"

namespace dfengine::cuda {

// A ring, and where each warp turns 16 rows of fragments into whole rows.
template <class Ring>
struct ProductShared {
  using Tile = typename Ring::Tile;
  static constexpr int kOutPitch = Tile::kPartColumns + kPad, kOut = 16 * kOutPitch;
  // Dynamic shared memory is aligned to 16 bytes.
  static constexpr std::size_t kBytes =
      Ring::kAlignment - 16 +
      2 * (Tile::kStages * Ring::kStage + Tile::kThreads / kWarpSize * kOut);
};

// Starts the sums at the bias. column is the first of the warp.
template <class Tile, class T>
__device__ __forceinline__ void start_sums(const Product<T>& p, int column, int lane,
                                           Sums<Tile>& sums) {
#pragma unroll
  for (int j = 0; j < Tile::kFragmentColumns; ++j) {
    const int at = column + 8 * j + lane % 4 * 2;
    const bool used = p.epilogue.bias != nullptr && at < p.columns;
    const float left = used ? p.epilogue.bias[at] : 0.0f;
    const float right = used ? p.epilogue.bias[at + 1] : 0.0f;
#pragma unroll
    for (int i = 0; i < Tile::kFragmentRows; ++i) {
      sums[i][j][0] = sums[i][j][2] = left;
      sums[i][j][1] = sums[i][j][3] = right;
    }
  }
}

// Calls body(at, shared) for each vector of 8 in the 16 rows of the warp that is inside y.
template <int kPartColumns, class T, class Body>
__device__ __forceinline__ void for_each_vector(const Product<T>& p, int row, int column, int lane,
                                                T* out, Body&& body) {
  constexpr int kPerRow = kPartColumns / kVector;
#pragma unroll 2
  for (int i = lane; i < 16 * kPerRow; i += kWarpSize) {
    const int r = i / kPerRow, c = i % kPerRow * kVector;
    if (row + r < p.rows && column + c < p.columns)
      body(Index{row + r} * p.columns + column + c, out + r * (kPartColumns + kPad) + c);
  }
}

// at: two values of the residual, if there is one.
template <class T>
__device__ __forceinline__ void finish_pair(const Epilogue<T, float>& epilogue, float left,
                                            float right, T* at) {
  std::uint32_t& pair = *reinterpret_cast<std::uint32_t*>(at);
  if (epilogue.residual != nullptr) {
    pair = pack_pair<T>(clamp(epilogue.activation, left) + to_float(at[0]),
                        clamp(epilogue.activation, right) + to_float(at[1]));
  } else {
    // A bound is a value of T, so it may come after the rounding, and to both at once.
    std::uint32_t rounded = pack_pair<T>(left, right);
    if (epilogue.activation != Activation::None)
      rounded = clamp_pair<T>(pair_bounds<T>(epilogue.activation), rounded);
    pair = rounded;
  }
}

// Stores through shared memory, so that a lane writes 16 bytes to global memory and the lanes whole
// rows of the part. Calls settle(row) while the 16 rows from this one on lie in `out`, before they
// are stored: it may change them, and ends with a barrier of the warp if it does.
template <class Tile, class T, class Settle>
__device__ __forceinline__ void store_sums(const Product<T>& p, int row, int column, int lane,
                                           const Sums<Tile>& sums, T* out, Settle&& settle) {
  constexpr int kColumns = Tile::kPartColumns, kPitch = kColumns + kPad;
#pragma unroll
  for (int i = 0; i < Tile::kFragmentRows; ++i, row += 16) {
    if (p.epilogue.residual != nullptr) {
      for_each_vector<kColumns>(p, row, column, lane, out, [&](Index at, T* to) {
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(p.epilogue.residual + at);
      });
      __syncwarp();
    }
#pragma unroll
    for (int j = 0; j < Tile::kFragmentColumns; ++j) {
      T* const at = out + lane / 4 * kPitch + 8 * j + lane % 4 * 2;
      finish_pair(p.epilogue, sums[i][j][0], sums[i][j][1], at);
      finish_pair(p.epilogue, sums[i][j][2], sums[i][j][3], at + 8 * kPitch);
    }
    __syncwarp();
    settle(row);
    for_each_vector<kColumns>(p, row, column, lane, out, [&](Index at, const T* from) {
      *reinterpret_cast<uint4*>(p.y + at) = *reinterpret_cast<const uint4*>(from);
    });
    __syncwarp();
  }
}

// A block stays and takes every gridDim-th tile. The steps of all its tiles form one list, so that
// the copies of the next tile are under way while the results of this one are stored.
// settle(row, out, warp, lane): as in store_sums, of this warp.
template <class T, class Ring, bool kNorm, class Settle>
__device__ __forceinline__ void multiply_tiles(const Product<T>& p, std::byte* shared,
                                               Settle&& settle) {
  using Tile = typename Ring::Tile;
  T* const ring = reinterpret_cast<T*>(Ring::begin(shared));
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  T* const out = ring + Tile::kStages * Ring::kStage + warp * ProductShared<Ring>::kOut;
  const int part_row = warp / Tile::kWarpColumns * Tile::kPartRows;
  const int part_column = warp % Tile::kWarpColumns * Tile::kPartColumns;
  // Where all tiles of the block have the same columns and the ring holds whole tiles, b stays in
  // it from the first round on.
  const bool b_stays =
      static_cast<int>(gridDim.x) % p.column_tiles == 0 && Tile::kStages % p.steps == 0;

  Place next{static_cast<int>(blockIdx.x), 0}, now = next;
  int fill = 0, copied = 0;  // the stage to fill, the stages filled in the first round
  const auto copy_next = [&] {
    if (next.tile < p.tiles) {
      Ring::copy(p, next, !b_stays || copied < Tile::kStages, ring + fill * Ring::kStage);
      advance(p, next);
      copied += copied < Tile::kStages ? 1 : 0;
    }
    fill = fill + 1 == Tile::kStages ? 0 : fill + 1;
    copy_async_commit();
  };
  for (int i = 0; i < Tile::kStages - 1; ++i) copy_next();

  Sums<Tile> sums;
  for (int stage = 0; now.tile < p.tiles; stage = stage + 1 == Tile::kStages ? 0 : stage + 1) {
    const int row = now.tile / p.column_tiles * Tile::kRows + part_row;
    const int column = now.tile % p.column_tiles * Tile::kColumns + part_column;
    if (now.step == 0) start_sums<Tile>(p, column, lane, sums);
    copy_async_wait<Tile::kStages - 2>();
    if constexpr (kNorm)
      normalise_tile<Tile::kRows, Tile::kDepth, Tile, typename Ring::LayoutOfA>(
          p.norm, row - part_row, p.rows, now.step * Tile::kDepth, p.depth,
          ring + stage * Ring::kStage);
    Ring::publish();
    __syncthreads();
    Ring::multiply(ring, stage, part_row, part_column, lane, sums, copy_next);
    if (now.step == p.steps - 1)
      store_sums<Tile>(p, row, column, lane, sums, out,
                       [&](int first) { settle(first, out, warp, lane); });
    advance(p, now);
  }
}

template <class T, class Ring, bool kNorm>
__global__ void __launch_bounds__(Ring::Tile::kThreads, Ring::Tile::kBlocks)
    product_kernel(Product<T> p) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(shared);
  multiply_tiles<T, Ring, kNorm>(p, shared, [](int, const T*, int, int) {});
}

// The same without an epilogue, and the moments of y. The grid is a multiple of the column tiles,
// so that all tiles of a block have the same columns.
template <class T, class Ring, bool kNorm>
__global__ void __launch_bounds__(Ring::Tile::kThreads, Ring::Tile::kBlocks)
    product_moments_kernel(Product<T> p, float* parts) {
  await_previous_kernels();
  using Tile = typename Ring::Tile;
  DF_DYNAMIC_SHARED(shared);
  const KeptMoments<Tile> kept(shared + ProductShared<Ring>::kBytes);
  kept.clear();
  p.epilogue = {};
  multiply_tiles<T, Ring, kNorm>(p, shared, [&](int row, const T* out, int warp, int lane) {
    if (row < p.rows) add_slice(kept, out, p.rows - row, warp, lane);
  });
  write_part(kept, static_cast<int>(blockIdx.x) % p.column_tiles * Tile::kColumns, p.columns,
             parts + Index{blockIdx.x} / p.column_tiles * ChannelMoments::pitch(p.columns));
}

// How many tiles of rows and columns there are. Sizes are below 2^31 - 256.
template <class Tile, class T>
Index count_tiles(Product<T>& p) {
  p.column_tiles = static_cast<int>(divide_up(p.columns, Tile::kColumns));
  const Index tiles = divide_up(p.rows, Tile::kRows) * p.column_tiles;
  p.tiles = static_cast<int>(blocks(tiles).x);
  p.steps = static_cast<int>(divide_up(p.depth, Tile::kDepth));
  return tiles;
}

// Starts at most so many blocks, a multiple of the column tiles where that can be.
template <class Ring, class T>
void multiply(Stream stream, const char* name, Index most_blocks, Product<T> p) {
  using Tile = typename Ring::Tile;
  const Index tiles = count_tiles<Tile>(p);
  auto kernel = product_kernel<T, Ring, false>;
  if constexpr (Ring::kNormalises)
    if (p.norm.present()) kernel = product_kernel<T, Ring, true>;
  if (most_blocks > p.column_tiles) most_blocks -= most_blocks % p.column_tiles;
  launch(stream, name, kernel, blocks(std::min(tiles, most_blocks)), Tile::kThreads,
         ProductShared<Ring>::kBytes, p);
}

// The same with the moments of y. Each part of the rows has a block for every tile of columns.
template <class Ring, class T>
void multiply_with_moments(Stream stream, const char* name, Product<T> p,
                           const ChannelMoments& moments) {
  using Tile = typename Ring::Tile;
  if constexpr (KeptMoments<Tile>::kHasRoom) {
    count_tiles<Tile>(p);
    const auto kernel = p.norm.present() ? product_moments_kernel<T, Ring, true>
                                         : product_moments_kernel<T, Ring, false>;
    launch(stream, name, kernel, blocks(moments.parts * p.column_tiles), Tile::kThreads,
           ProductShared<Ring>::kBytes + KeptMoments<Tile>::kBytes, p, moments.values);
  } else {
    throw Error(std::string(name) + ": this tile has no room for moments");
  }
}

}  // namespace dfengine::cuda
