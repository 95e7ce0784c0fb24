// The stem on tensor cores, for Half and BFloat16. A window is a depth of 32: depth 10 r + j is
// value j of row r, j < 9, as it lies in the image; what stands at the others does not count. A
// block has four warps, and a warp takes a row of 16 outputs of the tile at a time.
//
// The columns of the second factor are exchanged so that a lane has eight neighbouring channels:
// column 2 t + e of its fragment j is channel 8 t + 2 j + e.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/cuda/stem/stem.cuh"

namespace dfengine::cuda::stem {

constexpr int kTensorThreads = 128, kTensorWarps = kTensorThreads / kWarpSize;
constexpr int kRowDepths = 10, kDepths = 3 * kRowDepths;  // used of 32
constexpr int kSteps = 2, kFragments = kTileChannels / 8;

// Two values of which the left one comes first; the second may begin in the middle of a word.
template <bool kAligned, class T>
__device__ __forceinline__ std::uint32_t load_pair(const T* at) {
  if constexpr (kAligned) return *reinterpret_cast<const std::uint32_t*>(at);
  return at[0].bits | static_cast<std::uint32_t>(at[1].bits) << 16;
}

// Where a lane finds its part of fragments A of 16 windows.
template <int Stride>
class WindowPlaces {
 public:
  __device__ explicit WindowPlaces(int lane) {
#pragma unroll
    for (int i = 0; i < kSteps * 2; ++i) {
      const int depth = lane % 4 * 2 + 8 * i, row = depth / kRowDepths, value = depth % kRowDepths;
      const bool used = depth < kDepths;
      offsets_[i] = used ? row * TileInput<Stride>::kPitch + value : 0;
      // Behind the nine values of a row stands the next pixel's, which may not be finite.
      masks_[i] = !used ? 0 : value == kRowDepths - 2 ? 0xFFFFu : 0xFFFFFFFFu;
    }
  }

  // row: the input of the row's first window.
  template <class T>
  __device__ __forceinline__ void load(const T* row, int step, int lane,
                                       std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int pixel = lane / 4 + i % 2 * 8, place = 2 * step + i / 2;
      a[i] = load_pair<Stride == 2>(row + 3 * Stride * pixel + offsets_[place]) & masks_[place];
    }
  }

 private:
  int offsets_[kSteps * 2];
  std::uint32_t masks_[kSteps * 2];
};

// A lane's fragments B of the weights of the block's channels.
template <class T>
struct WeightFragments {
  std::uint32_t b[kSteps][kFragments][2];

  // w [27, k]
  __device__ WeightFragments(const StemWork& work, int first_channel, const T* w, int lane) {
    const auto weight = [&](int depth, int channel) {
      const int value = depth % kRowDepths;
      const bool used = depth < kDepths && value < 9 && channel < work.k;
      return used ? w[(depth / kRowDepths * 9 + value) * work.k + channel] : T{};
    };
    const int column = lane / 4;
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int j = 0; j < kFragments; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int depth = 16 * step + lane % 4 * 2 + 8 * i;
          const int channel = first_channel + column / 2 * kVector + 2 * j + column % 2;
          b[step][j][i] = weight(depth, channel).bits |
                          static_cast<std::uint32_t>(weight(depth + 1, channel).bits) << 16;
        }
  }
};

// What a lane of a block computes of its tiles: eight channels from `channel` on.
template <int Stride, class T>
struct TensorLane {
  int lane, warp, channel;
  WindowPlaces<Stride> places;
  WeightFragments<T> weights;

  __device__ TensorLane(const StemWork& work, int first_channel, const T* w)
      : lane(static_cast<int>(threadIdx.x) % kWarpSize),
        warp(static_cast<int>(threadIdx.x) / kWarpSize),
        channel(first_channel + lane % 4 * kVector),
        places(lane),
        weights(work, first_channel, w, lane) {}

  // Calls body(where y has them, eight sums) for each of the lane's outputs of the tile whose input
  // is given.
  template <class Body>
  __device__ __forceinline__ void for_each_output(const StemWork& work, const Tile& tile,
                                                  const T* input, Body&& body) const {
    for (int row = warp; row < kTile && tile.p + row < work.p; row += kTensorWarps) {
      float sums[kFragments][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        std::uint32_t a[4];
        places.load(input + Stride * row * TileInput<Stride>::kPitch, step, lane, a);
#pragma unroll
        for (int j = 0; j < kFragments; ++j) mma_16x8x16<T>(sums[j], a, weights.b[step][j]);
      }
      const Index first = (tile.image * work.p + tile.p + row) * work.q;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int q = tile.q + lane / 4 + 8 * i;
        if (q >= work.q || channel >= work.k) continue;
        float out[kVector];
#pragma unroll
        for (int j = 0; j < kVector; ++j) out[j] = sums[j / 2][2 * i + j % 2];
        body((first + q) * work.k + channel, out);
      }
    }
  }
};

}  // namespace dfengine::cuda::stem
