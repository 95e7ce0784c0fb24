// A depthwise convolution's nine taps on the tensor cores: a tap is a diagonal matrix of its
// channels. Two taps of eight channels make up a depth of 16; the one in the middle takes 16
// channels, half of them with zeros.
#pragma once

#include "kernels/cuda/depthwise/tile.cuh"

namespace dfengine::cuda::depthwise_tiles {

constexpr int kTaps = static_cast<int>(DepthwiseProblem::kTaps), kMiddle = kTaps / 2;
// Of a chunk's channels a warp takes this many at a time, of four parts of a tile one.
constexpr int kGroup = 16, kStrips = kWarps / (kChunk / kGroup);

// Pairs of taps whose rows and columns have the same parity: what a pixel meets at stride 2.
constexpr int kTapPairs = 4;
constexpr int tap_of(int pair, int which) {
  return pair < 2 ? 6 * pair + 2 * which : pair == 2 ? 1 + 6 * which : 3 + 2 * which;
}

// What a warp takes.
struct Share {
  int lane, g, t;
  int group, strip;
  __device__ __forceinline__ Share()
      : lane(static_cast<int>(threadIdx.x) % kWarpSize),
        g(lane / 4),
        t(lane % 4),
        group(static_cast<int>(threadIdx.x) / kWarpSize % 2 * kGroup),
        strip(static_cast<int>(threadIdx.x) / kWarpSize / 2) {}
  // Lanes of a fragment that have a value on the diagonal have channel g.
  __device__ __forceinline__ bool on_diagonal() const { return g / 2 == t; }
};

// A chunk's taps in shared memory, zeros behind the channels.
template <class T>
struct alignas(16) ChunkTaps {
  T of[kTaps][kChunk];
  __device__ void load(const Sizes& s, int first, const T* taps) {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kTaps * kVectors) return;
    const int tap = i / kVectors, channel = i % kVectors * kVector;
    const bool valid = first + channel < s.wide;
    copy_async16(of[tap] + channel, valid ? taps + tap * s.wide + first + channel : taps, valid);
  }
};

// The taps of 16 channels as fragments B of eight channels each.
template <class T>
struct Diagonals {
  std::uint32_t pairs[kTapPairs][2][2], middle[2];

  __device__ __forceinline__ Diagonals(const Share& share, const ChunkTaps<T>& taps) {
    const std::uint32_t own = !share.on_diagonal() ? 0
                              : share.g % 2 == 0   ? 0x0000FFFFU
                                                   : 0xFFFF0000U;
    const auto word = [&](int tap, int half) -> std::uint32_t {
      const std::uint32_t value = taps.of[tap][share.group + 8 * half + share.g].bits;
      return (value | value << 16) & own;
    };
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int pair = 0; pair < kTapPairs; ++pair)
#pragma unroll
        for (int which = 0; which < 2; ++which)
          pairs[pair][half][which] = word(tap_of(pair, which), half);
      middle[half] = word(kMiddle, half);
    }
  }
};

// 16 pixels of 16 channels.
using Filtered = float[2][4];

// Adds two taps of a pair. pixel: of lanes 0 to 15 the pixels under the first, of the others those
// under the second, at the group's first channel.
template <class T>
__device__ __forceinline__ void add_pair(const T* pixel, const Diagonals<T>& taps, int pair,
                                         Filtered& d) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t a[4];
    load_matrices(a, pixel + 8 * half);
    mma_16x8x16<T>(d[half], a, taps.pairs[pair][half]);
  }
}

// Adds the one in the middle. pixel: of each lane that of lane % 16.
template <class T>
__device__ __forceinline__ void add_middle(const T* pixel, int lane, const Diagonals<T>& taps,
                                           Filtered& d) {
  std::uint32_t a[4];
  load_matrices(a, pixel + lane / 16 * 8);
  mma_16x8x16<T>(d[0], a, {taps.middle[0], 0});
  mma_16x8x16<T>(d[1], a, {0, taps.middle[1]});
}

}  // namespace dfengine::cuda::depthwise_tiles
