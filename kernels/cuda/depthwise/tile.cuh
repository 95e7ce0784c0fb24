// What kernels of depthwise convolutions on tiles share: a tile of v, what is filtered, in shared
// memory.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/cuda/requirements.cuh"
#include "kernels/depthwise_conv.h"

namespace dfengine::cuda::depthwise_tiles {

constexpr int kWarps = 8, kThreads = kWarps * kWarpSize;
// A tile of v: 16 x 16 pixels, of which a warp makes two rows, and 32 channels at a time.
constexpr int kSide = 16, kPixels = kSide * kSide, kWarpRows = kSide / kWarps;
constexpr int kChunk = 32;
// As vectors; threads that take one after the other are at the same vector of pixels so far apart.
constexpr int kVectors = kChunk / kVector, kApart = kThreads / kVectors;
static_assert(kThreads % kVectors == 0);
// Eight values more than a row of a tile: rows that follow each other begin in other banks.
constexpr int kGap = 8, kPitch = kChunk + kGap;
// Two for each multiprocessor of the largest GPU; each takes one tile after the other.
constexpr Index kMostBlocks = 264;

// A problem, cut into tiles.
struct Sizes {
  int h, w, p, q, wide, before_h, before_w;
  int row_tiles, column_tiles, tiles;
  Activation activation;
  // Tiles begin so many pixels of the image h x w apart.
  static Sizes of(const DepthwiseProblem& d, Activation activation, Index height, Index width,
                  int apart) {
    const Index rows = divide_up(height, Index{apart}), columns = divide_up(width, Index{apart});
    return {.h = static_cast<int>(d.h),
            .w = static_cast<int>(d.w),
            .p = static_cast<int>(d.p),
            .q = static_cast<int>(d.q),
            .wide = static_cast<int>(d.c),
            .before_h = static_cast<int>(d.before_h),
            .before_w = static_cast<int>(d.before_w),
            .row_tiles = static_cast<int>(rows),
            .column_tiles = static_cast<int>(columns),
            .tiles = static_cast<int>(
                narrow_count("depthwise convolution on tiles", d.n, d.n * rows * columns)),
            .activation = activation};
  }
};

// Whether an int counts the places in a picture of v.
inline bool can_be_counted(const DepthwiseProblem& p) {
  return p.h * p.w * p.c <= kMostInInt;
}

// Cut into tiles of v. activation: the one that makes v.
inline Sizes input_sizes(const DepthwiseProblem& p, Activation activation) {
  return Sizes::of(p, activation, p.h, p.w, kSide);
}

// A tile: its image, and its pixels' first row and column of v, which may lie outside of the image.
struct Place {
  int image, row, column;
  __device__ bool has(const Sizes& s, int r, int c) const {
    return static_cast<unsigned>(row + r) < static_cast<unsigned>(s.h) &&
           static_cast<unsigned>(column + c) < static_cast<unsigned>(s.w);
  }
  // Of the tiles of input_sizes.
  static __device__ __forceinline__ Place of(const Sizes& s, int tile) {
    const int rest = tile / s.column_tiles;
    return {.image = rest / s.row_tiles,
            .row = rest % s.row_tiles * kSide,
            .column = tile % s.column_tiles * kSide};
  }
};

// The norm of a chunk's channels in shared memory; zeros behind the channels, where v is zero then.
struct alignas(16) ChunkNorm {
  float scale[kChunk], shift[kChunk];
  // Starts it.
  __device__ void load(const Sizes& s, int first, const float* scales, const float* shifts) {
    constexpr int kFour = 4, kFours = kChunk / kFour;
    const int i = static_cast<int>(threadIdx.x);
    if (i >= 2 * kFours) return;
    const float* const from = i < kFours ? scales : shifts;
    const int channel = i % kFours * kFour;
    const bool valid = first + channel < s.wide;
    copy_async16((i < kFours ? scale : shift) + channel, valid ? from + first + channel : from,
                 valid);
  }
};

}  // namespace dfengine::cuda::depthwise_tiles
