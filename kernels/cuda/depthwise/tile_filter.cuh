// The depthwise convolution on a tile of v in shared memory, and the moments of what it gives.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/cuda/depthwise/tile_taps.cuh"
#include "kernels/cuda/moments.cuh"

namespace dfengine::cuda::depthwise_tiles {

// Pixels of y that 16 x 16 of v give, and how a warp takes its strip of them: four rows, or at
// stride 2 two rows of eight as one fragment.
template <int Stride>
struct Output {
  static constexpr int kSides = Stride == 1 ? 14 : 7;
  static constexpr int kFragments = Stride == 1 ? 4 : 1, kStripRows = Stride == 1 ? 4 : 2;
  // Of pixel i of a fragment.
  static __device__ __forceinline__ int row(const Share& share, int fragment, int i) {
    return kStripRows * share.strip + (Stride == 1 ? fragment : i / 8);
  }
  static __device__ __forceinline__ int column(int i) { return Stride == 1 ? i : i % 8; }
};

// Sums of a strip around its first pixel, of four channels a lane: two of each half of the group.
struct StripMoments {
  float first[2][2] = {}, sums[2][2] = {}, squares[2][2] = {};

  __device__ __forceinline__ void add(int half, const float (&v)[2]) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float d = v[k] - first[half][k];
      sums[half][k] += d;
      squares[half][k] = fmaf(d, d, squares[half][k]);
    }
  }
  // Merges those of n pixels with the strip's so far, of `before` pixels. means and squares_of: the
  // strip's at the group's first channel, of which there are so many. Steps halve what a lane adds
  // up, so that it ends with one channel. All lanes.
  __device__ __forceinline__ void merge_into(const Share& share, float before, float n,
                                             int channels, float* means, float* squares_of) const {
    const bool upper = (share.g & 4) != 0, right = (share.g & 2) != 0;
    float of_half[2][2], of_channel[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      of_half[0][k] = halved(upper, sums[0][k], sums[1][k], 16);
      of_half[1][k] = halved(upper, squares[0][k], squares[1][k], 16);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      of_channel[i] = halved(right, of_half[i][0], of_half[i][1], 8);
      of_channel[i] += __shfl_xor_sync(kAllLanes, of_channel[i], 4);
    }
    const int channel = (upper ? 8 : 0) + 2 * share.t + (right ? 1 : 0);
    if (share.g % 2 != 0 || n == 0.0f || channel >= channels) return;
    const float begin =
        upper ? (right ? first[1][1] : first[1][0]) : (right ? first[0][1] : first[0][0]);
    const float moved = of_channel[0] / n;
    const Moments all = merge({before, means[channel], squares_of[channel]},
                              {n, begin + moved, fmaf(-of_channel[0], moved, of_channel[1])});
    means[channel] = all.mean;
    squares_of[channel] = all.m2;
  }

 private:
  // Of two sums the one that the lane keeps, with the one of the lane across.
  static __device__ __forceinline__ float halved(bool second, float one, float other, int mask) {
    return (second ? other : one) + __shfl_xor_sync(kAllLanes, second ? one : other, mask);
  }
};

// The warp's pixels of y in 16 channels of the chunk, which begins at `first`.
template <int Stride, class T>
__device__ StripMoments filter(const Sizes& s, const Place& place, int first, const Share& share,
                               const T* v, const ChunkTaps<T>& of_taps, T* __restrict__ y) {
  using Out = Output<Stride>;
  const int sides = Out::kSides;
  const Diagonals<T> taps(share, of_taps);
  const int p0 = (place.row + s.before_h) / Stride, q0 = (place.column + s.before_w) / Stride;
  const int rows = std::min(sides, s.p - p0), columns = std::min(sides, s.q - q0);
  T* const image = y + Index{place.image} * s.p * s.q * s.wide;
  StripMoments moments;
#pragma unroll
  for (int f = 0; f < Out::kFragments; ++f) {
    if (Out::row(share, f, 0) >= rows) break;
    // What lies outside of the tile is read elsewhere: its pixels of y are not stored.
    const int i = share.lane % 16;
    const int row = std::min(Out::row(share, f, i), sides - 1);
    const int column = std::min(Out::column(i), sides - 1);
    const T* const pixel = v + (row * kSide + column) * Stride * kPitch + share.group;
    const auto under = [&](int tap) { return (tap / 3 * kSide + tap % 3) * kPitch; };
    Filtered d = {};
#pragma unroll
    for (int pair = 0; pair < kTapPairs; ++pair)
      add_pair(pixel + (share.lane < 16 ? under(tap_of(pair, 0)) : under(tap_of(pair, 1))), taps,
               pair, d);
    add_middle(pixel + under(kMiddle), share.lane, taps, d);
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int at = share.g + 8 * which, r = Out::row(share, f, at), c = Out::column(at);
      const bool inside = r < rows && c < columns;
      std::uint32_t stored[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        stored[half] = pack_pair<T>(d[half][2 * which], d[half][2 * which + 1]);
        float values[2];
        unpack_pair<T>(stored[half], values);
        if (f == 0 && which == 0) {
#pragma unroll
          for (int k = 0; k < 2; ++k)
            moments.first[half][k] = __shfl_sync(kAllLanes, values[k], share.t);
        }
        if (inside && first + share.group + 8 * half + 2 * share.t < s.wide)
          moments.add(half, values);
      }
      // Neighbours exchange a pair, so that each has four channels beside each other.
      const bool is_odd = share.t % 2 != 0;
      const std::uint32_t given = __shfl_xor_sync(kAllLanes, is_odd ? stored[0] : stored[1], 1);
      const int channel = first + share.group + 2 * share.t + (is_odd ? 6 : 0);
      if (inside && channel < s.wide)
        *reinterpret_cast<uint2*>(image + ((p0 + r) * s.q + q0 + c) * s.wide + channel) =
            is_odd ? uint2{given, stored[1]} : uint2{stored[0], given};
    }
  }
  return moments;
}

template <int Stride>
__device__ __forceinline__ Place output_place(const Sizes& s, int tile) {
  constexpr int kSides = Output<Stride>::kSides;
  const int rest = tile / s.column_tiles;
  return {.image = rest / s.row_tiles,
          .row = rest % s.row_tiles * kSides * Stride - s.before_h,
          .column = tile % s.column_tiles * kSides * Stride - s.before_w};
}

// The pixels of y in a strip of the tile.
template <int Stride>
__device__ __forceinline__ int pixels_of(const Sizes& s, const Place& place, int strip) {
  using Out = Output<Stride>;
  const int sides = Out::kSides, strip_rows = Out::kStripRows;
  const int p0 = (place.row + s.before_h) / Stride, q0 = (place.column + s.before_w) / Stride;
  const int rows = std::min(std::min(sides, s.p - p0) - strip_rows * strip, strip_rows);
  return rows > 0 ? rows * std::min(sides, s.q - q0) : 0;
}

// Cut into tiles of y.
inline Sizes output_sizes(const DepthwiseProblem& p, Activation activation) {
  return Sizes::of(p, activation, p.p, p.q, p.stride == 1 ? Output<1>::kSides : Output<2>::kSides);
}

// The block's part of the moments, of these channels: those of its strips merged, each of so many
// pixels. counts: room for a number of each strip. All threads.
__device__ inline void write_moments(const Sizes& s, const Share& share, int begin, int channels,
                                     float count, const float* means, const float* squares,
                                     float* counts, float* part) {
  if (share.lane == 0 && share.group == 0) counts[share.strip] = count;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < channels; i += kThreads) {
    Moments all = {0.0f, 0.0f, 0.0f};
    for (int strip = 0; strip < kStrips; ++strip)
      all = merge(all, {counts[strip], means[strip * channels + i], squares[strip * channels + i]});
    const int channel = begin + i;
    if (channel == 0) part[0] = all.n;
    part[ChannelMoments::kHead + channel] = all.mean;
    part[ChannelMoments::kHead + s.wide + channel] = all.m2;
  }
}

}  // namespace dfengine::cuda::depthwise_tiles
