// The sums of the gradients that a block of a product stores (kernels/norm_gradient.h). As with
// moments (pointwise_columns.cuh), warps keep them in shared memory from tile to tile.
#pragma once

#include "kernels/cuda/pointwise/pointwise_columns.cuh"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda {

// What a block keeps. Each warp has its own, and so has each lane of those that share a pair.
template <class Tile>
struct KeptGradientSums {
  using Shares = SliceShares<Tile>;
  static constexpr int kLists = Tile::kWarpRows * Shares::kLanes;
  static constexpr int kPairs = Tile::kColumns / 2;
  // More sums of the product than this leave too few registers for what a warp takes.
  static constexpr bool kHasRoom = Tile::kFragmentRows * Tile::kFragmentColumns * 4 <= 48;
  static constexpr std::size_t kBytes = kLists * kPairs * sizeof(float4);

  float4* of_pairs;  // [kWarpRows, lanes that share, pairs]: two sums of g, two of g * (x - mean)

  __device__ explicit KeptGradientSums(void* shared) : of_pairs(static_cast<float4*>(shared)) {}

  // Before the block's first barrier.
  __device__ void clear() const {
    for (int i = static_cast<int>(threadIdx.x); i < kLists * kPairs; i += Tile::kThreads)
      of_pairs[i] = {0.0f, 0.0f, 0.0f, 0.0f};
  }
  __device__ __forceinline__ float4& of(int warp, int share, int pair) const {
    return of_pairs[(warp / Tile::kWarpColumns * Shares::kLanes + share) * kPairs +
                    warp % Tile::kWarpColumns * Shares::kPairs + pair];
  }
};

// The norm of two neighbouring channels.
struct PairNorm {
  float2 scale, shift, mean;
  __device__ __forceinline__ PairNorm(const NormOnLoad& norm, int channel)
      : scale(*reinterpret_cast<const float2*>(norm.scale + channel)),
        shift(*reinterpret_cast<const float2*>(norm.shift + channel)),
        mean(*reinterpret_cast<const float2*>(norm.mean + channel)) {}
};

// Takes the gradients of two values x behind the activation, and adds them to the sums. g is a pair
// as it is stored, and stays one.
template <class T>
__device__ __forceinline__ std::uint32_t take_pair(const PairNorm& norm, Activation activation,
                                                   std::uint32_t x, std::uint32_t g, float4& sums) {
  float v[2], d[2];
  unpack_pair<T>(x, v);
  unpack_pair<T>(g, d);
  if (!passes_gradient(activation, normalised(v[0], norm.scale.x, norm.shift.x))) d[0] = 0.0f;
  if (!passes_gradient(activation, normalised(v[1], norm.scale.y, norm.shift.y))) d[1] = 0.0f;
  sums = {sums.x + d[0], sums.y + d[1], fmaf(d[0], v[0] - norm.mean.x, sums.z),
          fmaf(d[1], v[1] - norm.mean.y, sums.w)};
  return pack_pair<T>(d[0], d[1]);
}

// Takes a slice, of which the first `valid` rows are rows of the tensor. x [rows, columns] at the
// slice's first value, in column `column`.
template <class Tile, class T>
__device__ __forceinline__ void take_slice(const KeptGradientSums<Tile>& kept,
                                           const NormOnLoad& norm, const T* x, int columns,
                                           int column, int valid, int warp, int lane, T* out) {
  using Shares = SliceShares<Tile>;
  // Values of x under way together. More take registers that the product's sums have.
  constexpr int kAhead = Shares::kRun < 4 ? Shares::kRun : 4;
  for (int item = lane; item < Shares::kPairs * Shares::kLanes; item += kWarpSize) {
    const int pair = item % Shares::kPairs, share = item / Shares::kPairs;
    if (column + 2 * pair >= columns) continue;
    const PairNorm of_pair(norm, column + 2 * pair);
    float4& place = kept.of(warp, share, pair);
    float4 sums = place;
#pragma unroll 1
    for (int first = 0; first < Shares::kRows; first += kAhead) {
      std::uint32_t loaded[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int row = Shares::row(share, first + i);
        if (row < valid)
          loaded[i] = *reinterpret_cast<const std::uint32_t*>(x + Index{row} * columns + 2 * pair);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int row = Shares::row(share, first + i);
        if (row >= valid) continue;
        auto* const at = reinterpret_cast<std::uint32_t*>(out + row * Shares::kPitch + 2 * pair);
        *at = take_pair<T>(of_pair, norm.activation, loaded[i], *at, sums);
      }
    }
    place = sums;
  }
  __syncwarp();
}

// Writes the block's part [2, columns]. column is the block's first.
template <class Tile>
__device__ __forceinline__ void write_part(const KeptGradientSums<Tile>& kept, int column,
                                           int columns, float* part) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kColumns / 2; i += Tile::kThreads) {
    const int at = column + 2 * i;
    if (at >= columns) continue;
    float4 all = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int list = 0; list < KeptGradientSums<Tile>::kLists; ++list) {
      const float4 sums = kept.of_pairs[list * (Tile::kColumns / 2) + i];
      all = {all.x + sums.x, all.y + sums.y, all.z + sums.z, all.w + sums.w};
    }
    part[at] = all.x;
    part[at + 1] = all.y;
    part[columns + at] = all.z;
    part[columns + at + 1] = all.w;
  }
}

}  // namespace dfengine::cuda
