// The moments of the columns that a block of a product stores (kernels/channel_moments.h). Warps
// keep them in shared memory from tile to tile, because the sums of the product take all registers;
// at the end the block merges them to those of one part.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/cuda/moments.cuh"
#include "kernels/cuda/pointwise/pointwise_fragments.cuh"

namespace dfengine::cuda {

// How the lanes of a warp divide a slice, the 16 rows of its part of a tile that it stores at a
// time.
template <class Tile>
struct SliceShares {
  static constexpr int kPairs = Tile::kPartColumns / 2;  // of neighbouring columns
  // So many lanes take turns in the rows of a pair, where there are fewer pairs than lanes.
  static constexpr int kLanes = 2 * kPairs <= kWarpSize ? kWarpSize / kPairs : 1;
  static constexpr int kRun = 8 / kLanes, kRows = 16 / kLanes;
  static constexpr int kPitch = Tile::kPartColumns + kPad;

  // The i-th row of a lane: such that the lanes read different banks.
  static __device__ __forceinline__ int row(int share, int i) {
    return i % kRun + kRun * (share + i / kRun * kLanes);
  }
  // How many of its rows are among the first `valid` of the slice.
  static __device__ __forceinline__ int count(int share, int valid) {
    const auto of_run = [](int rows) { return rows < 0 ? 0 : rows < kRun ? rows : kRun; };
    return of_run(valid - kRun * share) + of_run(valid - 8 - kRun * share);
  }
};

// What a block keeps. Each warp has its own, and so has each lane of those that share a pair.
template <class Tile>
struct KeptMoments {
  using Shares = SliceShares<Tile>;
  static constexpr int kLists = Tile::kWarpRows * Shares::kLanes;
  static constexpr int kWarps = Tile::kWarpRows * Tile::kWarpColumns;
  // More sums than this leave too few registers to add up moments.
  static constexpr bool kHasRoom = Tile::kFragmentRows * Tile::kFragmentColumns * 4 <= 72;
  static constexpr std::size_t kBytes =
      kLists * Tile::kColumns * 2 * sizeof(float) + kWarps * Shares::kLanes * sizeof(float);

  float4* of_pairs;  // [kWarpRows, lanes that share, pairs]: two means, two sums of squares
  float* rows;       // [kWarps, lanes that share]

  __device__ explicit KeptMoments(void* shared)
      : of_pairs(static_cast<float4*>(shared)),
        rows(reinterpret_cast<float*>(of_pairs + kLists * Tile::kColumns / 2)) {}

  // Before the block's first barrier.
  __device__ void clear() const {
    for (int i = static_cast<int>(threadIdx.x); i < kWarps * Shares::kLanes; i += Tile::kThreads)
      rows[i] = 0.0f;
  }
  __device__ __forceinline__ float4* of(int warp, int share) const {
    return of_pairs + (warp / Tile::kWarpColumns * Shares::kLanes + share) * (Tile::kColumns / 2) +
           warp % Tile::kWarpColumns * Shares::kPairs;
  }
};

// Adds a slice, of which the first `valid` rows, at least one, are rows of y. Squares are taken
// around the mean so far, at first around the first value: with s and q the sums of d = v - mean
// and of d^2, n values before and N with these, the mean moves by s / N and the squares around it
// by q - s^2 / N.
template <class Tile, class T>
__device__ __forceinline__ void add_slice(const KeptMoments<Tile>& kept, const T* out, int valid,
                                          int warp, int lane) {
  using Shares = SliceShares<Tile>;
  for (int item = lane; item < Shares::kPairs * Shares::kLanes; item += kWarpSize) {
    const int pair = item % Shares::kPairs, share = item / Shares::kPairs;
    const int count = Shares::count(share, valid);
    if (count == 0) continue;
    const auto values = [&](int i, float(&v)[2]) {
      unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(
                         out + Shares::row(share, i) * Shares::kPitch + 2 * pair),
                     v);
    };
    const float before = kept.rows[warp * Shares::kLanes + share];
    float4& place = kept.of(warp, share)[pair];
    float4 m = place;
    if (before == 0.0f) {
      float first[2];
      values(0, first);
      m = {first[0], first[1], 0.0f, 0.0f};
    }
    float s[2] = {}, q[2] = {};
    const auto add = [&](int i) {
      float v[2];
      values(i, v);
      const float left = v[0] - m.x, right = v[1] - m.y;
      s[0] += left;
      s[1] += right;
      q[0] = fmaf(left, left, q[0]);
      q[1] = fmaf(right, right, q[1]);
    };
    if (valid >= 16) {
#pragma unroll
      for (int i = 0; i < Shares::kRows; ++i) add(i);
    } else {
#pragma unroll 1
      for (int i = 0; i < count; ++i) add(i);
    }
    const float share_of_one = 1.0f / (before + static_cast<float>(count));
    const float moved[2] = {s[0] * share_of_one, s[1] * share_of_one};
    place = {m.x + moved[0], m.y + moved[1], m.z + fmaf(-s[0], moved[0], q[0]),
             m.w + fmaf(-s[1], moved[1], q[1])};
  }
  __syncwarp();
  // One lane of each share tells how many there are now.
  const int share = lane / Shares::kPairs;
  if (lane % Shares::kPairs == 0 && share < Shares::kLanes)
    kept.rows[warp * Shares::kLanes + share] += static_cast<float>(Shares::count(share, valid));
}

// Writes the block's part. column is the block's first.
template <class Tile>
__device__ __forceinline__ void write_part(const KeptMoments<Tile>& kept, int column, int columns,
                                           float* part) {
  using Shares = SliceShares<Tile>;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kColumns / 2; i += Tile::kThreads) {
    const int at = column + 2 * i;
    if (at >= columns) continue;
    Moments left = {0.0f, 0.0f, 0.0f}, right = left;
    for (int list = 0; list < KeptMoments<Tile>::kLists; ++list) {
      const int warp = list / Shares::kLanes * Tile::kWarpColumns + i / Shares::kPairs;
      const float n = kept.rows[warp * Shares::kLanes + list % Shares::kLanes];
      const float4 m = kept.of_pairs[list * (Tile::kColumns / 2) + i];
      left = merge(left, {n, m.x, m.z});
      right = merge(right, {n, m.y, m.w});
    }
    if (at == 0) part[0] = left.n;
    float* const means = part + ChannelMoments::kHead + at;
    means[0] = left.mean;
    means[1] = right.mean;
    means[columns] = left.m2;
    means[columns + 1] = right.m2;
  }
}

}  // namespace dfengine::cuda
