// What the blocks of the kernel of inverted residuals store: rows of y, or parts of them that are
// added by their cluster or behind the kernel.
#pragma once

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/inverted_residual/inverted_residual_input.cuh"

namespace dfengine::cuda {

// sums[row][j]: the warp's rows of y, 16 pixels x 8 channels each.
template <class Tile>
using BlockSums = float[Tile::kRows][Tile::kOut / 8][4];

// The warp's rows: adds the residual from the tile's x, turns fragments into rows in `stage` and
// stores sixteen bytes a lane.
template <class Tile, class Work, class T>
__device__ void store_rows(const Work& work, const TilePlace& place, const T* x,
                           const BlockSums<Tile>& sums, T* stage) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  constexpr int kPerPixel = Tile::kOut / kVector;
  const int columns = work.q - place.q;
  T* to =
      work.y +
      ((Index{place.image} * work.p + place.p + warp * Tile::kRows) * work.q + place.q) * work.out;
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r, to += work.q * work.out) {
    const int row = warp * Tile::kRows + r;
    if (place.p + row >= work.p) return;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int column = g + 8 * which;
      const T* const skip =
          x + ((row + work.before_h) * Tile::kHalo + column + work.before_w) * Tile::kXPitch;
#pragma unroll
      for (int j = 0; j < Tile::kOut / 8; ++j) {
        const int channel = 8 * j + 2 * t;
        float left = sums[r][j][2 * which], right = sums[r][j][2 * which + 1];
        if (work.residual && channel < work.out) {
          left += to_float(skip[channel]);
          right += to_float(skip[channel + 1]);
        }
        *reinterpret_cast<std::uint32_t*>(stage + column * Tile::kOutPitch + channel) =
            pack_pair<T>(left, right);
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < kTileColumns * kPerPixel; i += kWarpSize) {
      const int column = i / kPerPixel, channel = i % kPerPixel * kVector;
      if (column < columns && channel < work.out)
        *reinterpret_cast<uint4*>(to + column * work.out + channel) =
            *reinterpret_cast<const uint4*>(stage + column * Tile::kOutPitch + channel);
    }
    __syncwarp();
  }
}

// Stores the warp's rows as they are, as part `split` of y.
template <class Tile, class Work>
__device__ void store_part(const Work& work, const TilePlace& place, int split,
                           const BlockSums<Tile>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int image =
      static_cast<int>(gridDim.x) / work.splits / work.row_tiles / work.column_tiles * split +
      place.image;
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    const int p = place.p + warp * Tile::kRows + r;
    if (p >= work.p) continue;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int q = place.q + g + 8 * which;
      if (q >= work.q) continue;
      float* const to = work.parts + ((Index{image} * work.p + p) * work.q + q) * work.out + 2 * t;
#pragma unroll
      for (int j = 0; j < Tile::kOut / 8; ++j)
        if (8 * j + 2 * t < work.out)
          *reinterpret_cast<float2*>(to + 8 * j) = {sums[r][j][2 * which],
                                                    sums[r][j][2 * which + 1]};
    }
  }
}

// The blocks of a cluster have a tile's sums in parts, which each adds up for some of the tile's
// pixels: to biases, in order, and then the residual.
template <class Tile, class Work>
__device__ void store_sums_of_cluster(const Work& work, const TilePlace& place, int rank,
                                      const float* bias, const BlockSums<Tile>& sums,
                                      float* parts) {
  constexpr int kPerPixel = Tile::kOut / kVector;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r)
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      float* const to =
          parts + ((warp * Tile::kRows + r) * kTileColumns + g + 8 * which) * Tile::kOutPitch +
          2 * t;
#pragma unroll
      for (int j = 0; j < Tile::kOut / 8; ++j)
        *reinterpret_cast<float2*>(to + 8 * j) = {sums[r][j][2 * which], sums[r][j][2 * which + 1]};
    }
  cluster_barrier();
  const int threads = static_cast<int>(blockDim.x);
  for (int i = rank * threads + static_cast<int>(threadIdx.x);
       i < work.rows * kTileColumns * kPerPixel; i += work.splits * threads) {
    const int pixel = i / kPerPixel, channel = i % kPerPixel * kVector;
    const int p = place.p + pixel / kTileColumns, q = place.q + pixel % kTileColumns;
    if (p >= work.p || q >= work.q || channel >= work.out) continue;
    float sum[kVector];
    load8(bias + channel, sum);
    const float* const part = parts + pixel * Tile::kOutPitch + channel;
#pragma unroll 4
    for (int split = 0; split < work.splits; ++split) {
      const float4 low = load_from_block(part, split), high = load_from_block(part + 4, split);
      sum[0] += low.x, sum[1] += low.y, sum[2] += low.z, sum[3] += low.w;
      sum[4] += high.x, sum[5] += high.y, sum[6] += high.z, sum[7] += high.w;
    }
    const Index at = ((Index{place.image} * work.p + p) * work.q + q) * work.out + channel;
    if (work.residual) {
      float skip[kVector];
      load8(work.input.x + at, skip);
#pragma unroll
      for (int c = 0; c < kVector; ++c) sum[c] += skip[c];
    }
    store8(work.y + at, sum);
  }
  await_readers();
}

constexpr int kSumThreads = 64;

// y = the sum of its parts, + biases, + residual: eight channels a thread.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    sum_parts_kernel(Index count, int out, int splits, const float* __restrict__ parts,
                     const float* __restrict__ bias, const T* __restrict__ residual,
                     T* __restrict__ y) {
  await_previous_kernels();
  const Index at = (Index{blockIdx.x} * kSumThreads + threadIdx.x) * kVector;
  if (at >= count) return;
  float sum[kVector];
  load8(bias + at % out, sum);
#pragma unroll 4
  for (int split = 0; split < splits; ++split) {
    float part[kVector];
    load8(parts + split * count + at, part);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += part[i];
  }
  if (residual != nullptr) {
    float skip[kVector];
    load8(residual + at, skip);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += skip[i];
  }
  store8(y + at, sum);
}

}  // namespace dfengine::cuda
