// The stem's weight gradient on tensor cores, for Half and BFloat16: dy transposed, 32 channels of
// 16 outputs, times their windows (stem_tensor.cuh). A block has eight warps, and a warp takes a
// row of 16 outputs of the tile at a time; each has sums of its own until the end.
#pragma once

#include <algorithm>

#include "kernels/cuda/stem/stem_tensor.cuh"

namespace dfengine::cuda::stem {

// 16 channels x 8 depths a fragment.
constexpr int kChannelFragments = kTileChannels / 16, kDepthFragments = 4;
using WeightSums = float[kChannelFragments][kDepthFragments][4];

struct GradientLayout {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
  // The values from one pixel to the next: 80 bytes, so that eight pixels lie in different banks.
  static constexpr int kPitch = kTileChannels + 8;
  static constexpr int kCount = kTile * kTile * kPitch;
  // The floats from one channel's depths to the next's at the end.
  static constexpr int kSumPitch = 8 * kDepthFragments + 1;
  static constexpr int kSums = kTileChannels * kSumPitch;

  static __device__ __forceinline__ int place(int row, int column) {
    return (row * kTile + column) * kPitch;
  }

  // tensors: how many of dy and y a block holds.
  template <int Stride, class T>
  static constexpr std::size_t bytes(int tensors) {
    return std::max((tensors * kCount + TileInput<Stride>::kCount) * sizeof(T),
                    kWarps * kSums * sizeof(float));
  }
};

// Channels that the problem does not have would be what lies there. Before the first barrier.
template <class T>
__device__ __forceinline__ void clear_unused_channels(int groups, T* gradient) {
  const int unused = kTileGroups - groups;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile * unused;
       i += GradientLayout::kThreads) {
    const int pixel = i / unused, group = groups + i % unused;
    store_packed(gradient + pixel * GradientLayout::kPitch + group * kVector, zeros<T>());
  }
}

// Where a lane finds its depth of each fragment B in a window. Sums of depths that no weight has
// are not read.
template <int Stride>
struct DepthPlaces {
  int offsets[kDepthFragments];

  __device__ explicit DepthPlaces(int lane) {
#pragma unroll
    for (int j = 0; j < kDepthFragments; ++j) {
      const int depth = 8 * j + lane / 4;
      offsets[j] =
          depth < kDepths ? depth / kRowDepths * TileInput<Stride>::kPitch + depth % kRowDepths : 0;
    }
  }
};

// sums += one row of the tile's dy times the windows under it. input: of the row's first window.
template <int Stride, class T>
__device__ __forceinline__ void add_row_of_windows(const T* input, const T* gradient,
                                                   const DepthPlaces<Stride>& places, int lane,
                                                   WeightSums& sums) {
  std::uint32_t a[kChannelFragments][4];
#pragma unroll
  for (int i = 0; i < kChannelFragments; ++i)
    load_a_transposed(a[i], gradient + 16 * i, GradientLayout::kPitch, lane);
#pragma unroll
  for (int j = 0; j < kDepthFragments; ++j) {
    std::uint32_t b[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const T* const at = input + 3 * Stride * (lane % 4 * 2 + 8 * i) + places.offsets[j];
      b[i] = at[0].bits | static_cast<std::uint32_t>(at[3 * Stride].bits) << 16;
    }
#pragma unroll
    for (int i = 0; i < kChannelFragments; ++i) mma_16x8x16<T>(sums[i][j], a[i], b);
  }
}

// Adds the sums of the warps in their order and writes them to partials [27, k]. buffer has kWarps
// kSums floats, which may be the tiles' place.
__device__ __forceinline__ void reduce_warps(const StemWork& work, int first_channel, int groups,
                                             const WeightSums& sums, float* buffer,
                                             float* partials) {
  using Layout = GradientLayout;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kChannelFragments; ++i)
#pragma unroll
    for (int j = 0; j < kDepthFragments; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int channel = 16 * i + lane / 4 + e / 2 * 8, depth = 8 * j + lane % 4 * 2 + e % 2;
        buffer[warp * Layout::kSums + channel * Layout::kSumPitch + depth] = sums[i][j][e];
      }
  __syncthreads();
  const int channels = groups * kVector;
  for (int i = static_cast<int>(threadIdx.x); i < 27 * channels; i += Layout::kThreads) {
    const int channel = i % channels, tap = i / channels;
    const int depth = tap / 9 * kRowDepths + tap % 9;
    float sum = 0.0f;
    for (int from = 0; from < Layout::kWarps; ++from)
      sum += buffer[from * Layout::kSums + channel * Layout::kSumPitch + depth];
    partials[tap * work.k + first_channel + channel] = sum;
  }
}

}  // namespace dfengine::cuda::stem
