// What the kernels of expansions that are not stored share: tiles of v, made of x in shared memory.
#pragma once

#include "kernels/cuda/depthwise/tile.cuh"
#include "kernels/expand_depthwise.h"

namespace dfengine::cuda::expand_depthwise {

using namespace depthwise_tiles;

// Channels of x with those of zeros behind them: a multiple of a fragment's depth.
constexpr Index padded(Index in) {
  return in <= 16 ? 16 : 32;
}

// What forward saved, as kernels take it.
struct Saved {
  const float *scale, *shift, *rstd, *mean, *covariance;
  static Saved in(const float* saved, const ExpandDepthwiseProblem& p) {
    const Index c = p.wide();
    const float* const mean = saved + expand_depthwise_saved_mean(p);
    return {saved, saved + c, saved + 2 * c, mean, mean + padded(p.in)};
  }
};

// A problem, cut into tiles of v.
struct ExpandSizes : Sizes {
  int in;  // channels of x
  static ExpandSizes of(const ExpandDepthwiseProblem& p, const Sizes& tiles) {
    return {tiles, static_cast<int>(p.in)};
  }
};
inline ExpandSizes wide_sizes(const ExpandDepthwiseProblem& p) {
  return ExpandSizes::of(p, input_sizes(p.depthwise, p.activation));
}

// An activation by its bounds, which loops keep in registers. What lies below six must not become
// six by rounding: there backward reads that no gradient passes.
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
