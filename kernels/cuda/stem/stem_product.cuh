// The products of a tile of the stem's outputs in float: a thread computes 4 neighbouring outputs
// of 8 channels from input and weights in shared memory.
#pragma once

#include "kernels/cuda/stem/stem.cuh"

namespace dfengine::cuda::stem {

constexpr int kThreads = 128;
constexpr int kColumns = 4;
constexpr int kQuads = kTile * kTile / kColumns;
constexpr int kTaps = 27;
template <int Stride>
constexpr int kSharedBytes = (TileInput<Stride>::kCount + kTaps * kTileChannels) * sizeof(float);

// weights [27, kTileChannels] = those of the block's channels.
__device__ __forceinline__ void load_weights(const StemWork& work, int first_channel, int groups,
                                             const float* w, float* weights) {
  for (int i = static_cast<int>(threadIdx.x); i < kTaps * groups; i += kThreads) {
    const int tap = i / groups, channel = i % groups * kVector;
    float v[kVector];
    load8(w + tap * work.k + first_channel + channel, v);
    store8(weights + tap * kTileChannels + channel, v);
  }
}

// sum[j] = outputs (row, column + j) of the tile in the eight channels that weights begin at.
template <int Stride>
__device__ __forceinline__ void convolve(const float* input, const float* weights, int row,
                                         int column, float (&sum)[kColumns][kVector]) {
#pragma unroll
  for (int r = 0; r < 3; ++r) {
    float x[(3 * Stride * (kColumns - 1) + 9 + 3) / 4 * 4];
    load_values(input + (Stride * row + r) * TileInput<Stride>::kPitch + 3 * Stride * column, x);
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      float w[kVector];
      load8(weights + (r * 9 + tap) * kTileChannels, w);
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          sum[j][i] = fmaf(x[3 * Stride * j + tap], w[i], sum[j][i]);
    }
  }
}

}  // namespace dfengine::cuda::stem
