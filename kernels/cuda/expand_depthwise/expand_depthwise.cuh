// What the kernels of expansions that are not stored share: tiles of e, made of x in shared memory.
#pragma once

#include <limits>

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/expand_depthwise.h"

namespace dfengine::cuda::expand_depthwise {

constexpr int kWarps = 8, kThreads = kWarps * kWarpSize;
// A tile of e: 16 x 16 pixels, of which a warp makes two rows, and 32 channels at a time.
constexpr int kSide = 16, kPixels = kSide * kSide, kWarpRows = kSide / kWarps;
constexpr int kChunk = 32;
// Eight values more than a row of a tile: rows that follow each other begin in other banks.
constexpr int kGap = 8, kPitch = kChunk + kGap;
// Two for each multiprocessor of the largest GPU; each takes one tile after the other.
constexpr Index kMostBlocks = 264;

// Channels of x with those of zeros behind them: a multiple of a fragment's depth.
constexpr Index padded(Index in) {
  return in <= 16 ? 16 : 32;
}

// What forward saved, as kernels take it.
struct Saved {
  const float *scale = nullptr, *shift = nullptr;
  const float *rstd = nullptr, *mean = nullptr, *covariance = nullptr;
  static Saved in(const float* saved, const ExpandDepthwiseProblem& p) {
    const Index c = p.wide();
    const float* const mean = saved + expand_depthwise_saved_mean(p);
    return {saved, saved + c, saved + 2 * c, mean, mean + padded(p.in)};
  }
};

// A problem, cut into tiles.
struct Sizes {
  int h, w, p, q, in, wide, before_h, before_w;
  int row_tiles, column_tiles, tiles;
  Activation activation;
  // Tiles begin so many pixels of the image h x w apart.
  static Sizes of(const ExpandDepthwiseProblem& problem, Index height, Index width, int apart) {
    const DepthwiseProblem& d = problem.depthwise;
    const Index rows = divide_up(height, Index{apart}), columns = divide_up(width, Index{apart});
    return {.h = static_cast<int>(d.h),
            .w = static_cast<int>(d.w),
            .p = static_cast<int>(d.p),
            .q = static_cast<int>(d.q),
            .in = static_cast<int>(problem.in),
            .wide = static_cast<int>(d.c),
            .before_h = static_cast<int>(d.before_h),
            .before_w = static_cast<int>(d.before_w),
            .row_tiles = static_cast<int>(rows),
            .column_tiles = static_cast<int>(columns),
            .tiles = static_cast<int>(d.n * rows * columns),
            .activation = problem.activation};
  }
};

// Whether places in a picture of v, and tiles of it, fit into an int.
inline bool can_be_counted(const DepthwiseProblem& p) {
  constexpr Index kMost = std::numeric_limits<int>::max(), kLeastSide = 7;
  return p.h * p.w * p.c <= kMost &&
         p.n * divide_up(p.h, kLeastSide) * divide_up(p.w, kLeastSide) <= kMost;
}

// Cut into tiles of e.
inline Sizes wide_sizes(const ExpandDepthwiseProblem& p) {
  return Sizes::of(p, p.depthwise.h, p.depthwise.w, kSide);
}

// A tile: its image, and its pixels' first row and column of e, which may lie outside of the image.
struct Place {
  int image, row, column;
  __device__ bool has(const Sizes& s, int r, int c) const {
    return static_cast<unsigned>(row + r) < static_cast<unsigned>(s.h) &&
           static_cast<unsigned>(column + c) < static_cast<unsigned>(s.w);
  }
  // Of the tiles of wide_sizes.
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
  __device__ void load(const Sizes& s, int first, const Saved& saved) {
    constexpr int kFour = 4, kVectors = kChunk / kFour;
    const int i = static_cast<int>(threadIdx.x);
    if (i >= 2 * kVectors) return;
    const float* const from = i < kVectors ? saved.scale : saved.shift;
    const int channel = i % kVectors * kFour;
    const bool valid = first + channel < s.wide;
    copy_async16((i < kVectors ? scale : shift) + channel, valid ? from + first + channel : from,
                 valid);
  }
};

// An activation by its bounds, which loops keep in registers. What lies below six must not become six by
// rounding: there backward reads that no gradient passes.
template <class T>
struct Bounds {
  float low, high, below;
  __device__ __forceinline__ explicit Bounds(Activation activation)
      : low(activation == Activation::None ? -INFINITY : 0.0f),
        high(activation == Activation::Relu6 ? 6.0f : INFINITY),
        below(activation != Activation::Relu6 ? INFINITY
              : std::is_same_v<T, Half>       ? 6.0f - 0x1p-8f
                                              : 6.0f - 0x1p-5f) {}
  // NaN stays.
  __device__ __forceinline__ float apply(float x) const {
    const float most = x < 6.0f ? below : high;
#if defined(__CUDA_ARCH__)
    asm("max.NaN.f32 %0, %0, %1;\n\tmin.NaN.f32 %0, %0, %2;" : "+f"(x) : "f"(low), "f"(most));
    return x;
#else
    return x > most ? most : x < low ? low : x;
#endif
  }
  __device__ __forceinline__ bool passes_gradient(float v) const {
    return !(v <= low) && !(v >= high);
  }
};

// v of a chunk, [kPixels, kPitch], zeros outside of the image: each warp makes its rows.
template <int In, class T>
__device__ void expand(const Sizes& s, const Place& place, const T* x, const T* w,
                       const ChunkNorm& norm, T* v) {
  constexpr int kXPitch = In + kGap;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const Bounds<T> bounds(s.activation);
#pragma unroll
  for (int channel = 0; channel < kChunk; channel += 16) {
    std::uint32_t b[In / 16][4];
#pragma unroll
    for (int d = 0; d < In / 16; ++d) load_b(b[d], w + channel * kXPitch + 16 * d, kXPitch, lane);
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const int row = warp * kWarpRows + r;
      float sums[2][4] = {};
#pragma unroll
      for (int d = 0; d < In / 16; ++d) {
        std::uint32_t a[4];
        load_a(a, x + row * kSide * kXPitch + 16 * d, kXPitch, lane);
        mma_16x8x16<T>(sums[0], a, {b[d][0], b[d][1]});
        mma_16x8x16<T>(sums[1], a, {b[d][2], b[d][3]});
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = channel + 8 * half + 2 * t;
        const float2 scale = *reinterpret_cast<const float2*>(norm.scale + at);
        const float2 shift = *reinterpret_cast<const float2*>(norm.shift + at);
#pragma unroll
        for (int which = 0; which < 2; ++which) {
          const int column = g + 8 * which;
          const float left = fmaf(sums[half][2 * which], scale.x, shift.x);
          const float right = fmaf(sums[half][2 * which + 1], scale.y, shift.y);
          const std::uint32_t pair = pack_pair<T>(bounds.apply(left), bounds.apply(right));
          *reinterpret_cast<std::uint32_t*>(v + (row * kSide + column) * kPitch + at) =
              place.has(s, row, column) ? pair : 0;
        }
      }
    }
  }
}

// Sums over a tile's pixels: of a fragment of 16 columns of one matrix times 8 of another, and
// where they are asked for of the 16 columns by themselves, which every column of `totals` has.
struct PixelSums {
  float products[4] = {}, totals[4] = {};

  // left, right: at their first column, [kPixels, pitch].
  template <class T>
  __device__ __forceinline__ void add(const T* left, int left_pitch, const T* right,
                                      int right_pitch, bool with_totals) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    const std::uint32_t ones = pack_pair<T>(1.0f, 1.0f);
    for (int pixel = 0; pixel < kPixels; pixel += 32) {
      std::uint32_t b[4];  // a fragment B for each of two steps
      load_matrices_transposed(b, right + (pixel + lane) * right_pitch);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        std::uint32_t a[4];
        load_a_transposed(a, left + (pixel + 16 * step) * left_pitch, left_pitch, lane);
        mma_16x8x16<T>(products, a, {b[2 * step], b[2 * step + 1]});
        if (with_totals) mma_16x8x16<T>(totals, a, {ones, ones});
      }
    }
  }
};

}  // namespace dfengine::cuda::expand_depthwise
