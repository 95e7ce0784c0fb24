// The depthwise convolution's gradients on a tile of v: a thread has two channels, and walks down columns.
#pragma once

#include "kernels/cuda/expand_depthwise/expand_depthwise.cuh"

namespace dfengine::cuda::expand_depthwise {

// Of each channel: nine taps' gradients, and the sum of g.
constexpr int kTaps = 9, kTotals = kTaps + 1;

// The pixels of y that a tile of v meets.
template <int Stride>
constexpr int kHalo = Stride == 1 ? kSide + 2 : kSide / 2 + 1;

// In front of it in shared memory: x, w, w with its rows times the norm's scale, v, y's gradient. Behind it
// R and the totals so far.
struct BackwardShared {
  ChunkNorm norm;
  float2 totals[kWarps][kTotals][kPairs];
};

// The first row (column) of y that a tile of v meets.
template <int Stride>
__device__ __forceinline__ int first_of(int place, int before) {
  return Stride == 1 ? place + before - 2 : place / 2 + before - 1;
}

template <class T>
struct OutputGradient {
  const T *y, *dy;
  const float* factors;  // GradientOnLoad; null: dy is the gradient
};

// y's gradient under a tile of v: [kHalo^2, kPitch], zeros outside of y and behind the channels.
template <int Stride, class T>
__device__ void load_gradient(const Sizes& s, const Place& place, int first,
                              const OutputGradient<T>& of, T* to) {
  constexpr int kVectors = kChunk / kVector, kWide = kHalo<Stride>;
  const int p0 = first_of<Stride>(place.row, s.before_h);
  const int q0 = first_of<Stride>(place.column, s.before_w);
  const Index image = Index{place.image} * s.p * s.q * s.wide;
  const T *const dy = of.dy + image, *const y_of = of.y + image;
  for (int i = static_cast<int>(threadIdx.x); i < kWide * kWide * kVectors; i += kThreads) {
    const int pixel = i / kVectors, channel = first + i % kVectors * kVector;
    const int p = p0 + pixel / kWide, q = q0 + pixel % kWide;
    const bool valid = channel < s.wide && static_cast<unsigned>(p) < static_cast<unsigned>(s.p) &&
                       static_cast<unsigned>(q) < static_cast<unsigned>(s.q);
    const int from = (p * s.q + q) * s.wide + channel;
    T* const here = to + pixel * kPitch + i % kVectors * kVector;
    if (of.factors == nullptr) {
      copy_async16(here, valid ? dy + from : dy, valid);
      continue;
    }
    float g[kVector] = {}, y[kVector], factors[3][kVector];
    if (valid) {
      load8(dy + from, g);
      load8(y_of + from, y);
#pragma unroll
      for (int k = 0; k < 3; ++k) load8(of.factors + k * s.wide + channel, factors[k]);
#pragma unroll
      for (int k = 0; k < kVector; ++k)
        g[k] = fmaf(factors[0][k], g[k], fmaf(factors[1][k], y[k], factors[2][k]));
    }
    store8(here, g);
  }
}

// A thread's channels: their taps, and what it adds up.
struct ThreadTaps {
  float w[kTaps][2], totals[kTotals][2];
  template <class T>
  __device__ __forceinline__ ThreadTaps(const Sizes& s, const T* taps, int channel) : totals{} {
#pragma unroll
    for (int i = 0; i < kTaps; ++i)
      unpack_pair<T>(channel < s.wide
                         ? *reinterpret_cast<const std::uint32_t*>(taps + i * s.wide + channel)
                         : 0,
                     w[i]);
  }
  // What a pixel of y's gradient under a tap means for a value of v.
  __device__ __forceinline__ void meet(int tap, const float (&dy)[2], const float (&v)[2],
                                       float (&g)[2]) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      g[k] = fmaf(dy[k], w[tap][k], g[k]);
      totals[tap][k] = fmaf(dy[k], v[k], totals[tap][k]);
    }
  }
};

// The rows of a column of v that lie in the image, and what g takes the place of.
template <class T>
struct Column {
  T* v;
  int rows;
  Bounds<T> bounds;

  __device__ __forceinline__ std::uint32_t* at(int row) const {
    return reinterpret_cast<std::uint32_t*>(v + row * kSide * kPitch);
  }
  __device__ __forceinline__ void load(int row, float (&value)[2]) const {
    unpack_pair<T>(*at(row), value);
  }
  __device__ __forceinline__ void put(int row, const float (&value)[2], float (&g)[2],
                                      ThreadTaps& taps) const {
#pragma unroll
    for (int k = 0; k < 2; ++k)
      if (row >= rows || !bounds.passes_gradient(value[k])) g[k] = 0.0f;
    const std::uint32_t stored = pack_pair<T>(g[0], g[1]);
    *at(row) = stored;
    unpack_pair<T>(stored, g);
#pragma unroll
    for (int k = 0; k < 2; ++k) taps.totals[kTaps][k] += g[k];
  }
};

// N pixels of a row of y's gradient.
template <class T, int N>
__device__ __forceinline__ void load_pixels(const T* dy, float (&row)[N][2]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(dy + j * kPitch), row[j]);
}

// dy: y's gradient at the thread's channels, where column 2 of the window meets tap 0.
template <class T>
__device__ __forceinline__ void walk_stride1(const T* dy, const Column<T>& column,
                                             ThreadTaps& taps) {
  constexpr int kRow = kHalo<1> * kPitch;
  float window[3][3][2];
  load_pixels(dy, window[0]);
  load_pixels(dy + kRow, window[1]);
#pragma unroll 4
  for (int r = 0; r < kSide; ++r) {
    load_pixels(dy + (r + 2) * kRow, window[2]);
    float value[2], g[2] = {};
    column.load(r, value);
    // Row 2 - i and column 2 - j of the window meet tap (i, j).
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap)
      taps.meet(tap, window[2 - tap / 3][2 - tap % 3], value, g);
    column.put(r, value, g, taps);
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int k = 0; k < 2; ++k) window[i][j][k] = window[i + 1][j][k];
  }
}

// At stride 2 every other row of v lies between two rows of y, whose taps 2 and 0 meet it, and the rows
// between them are met by tap 1 of one. So do columns: Pixels is 2 where the thread's lies between two.
// Two rows of v at a time; before: rows of zeros above the image, so the first of both is met by tap 1.
template <int Pixels, class T>
__device__ __forceinline__ void walk_stride2(int before, const T* dy, const Column<T>& column,
                                             ThreadTaps& taps) {
  constexpr int kRow = kHalo<2> * kPitch;
  // Of pixel j of a row: its tap's column.
  const auto tap = [](int i, int j) { return 3 * i + (Pixels == 1 ? 1 : 2 - 2 * j); };
  float above[Pixels][2], below[Pixels][2];
  load_pixels(dy, above);
#pragma unroll 2
  for (int k = 0; k < kSide / 2; ++k) {
    load_pixels(dy + (k + 1) * kRow, below);
    const int between = 2 * k + before, beside = 2 * k + 1 - before;
    float value[2], g[2] = {};
    column.load(between, value);
#pragma unroll
    for (int j = 0; j < Pixels; ++j) {
      taps.meet(tap(2, j), above[j], value, g);
      taps.meet(tap(0, j), below[j], value, g);
    }
    column.put(between, value, g, taps);
    float other[2], of_other[2] = {};
    column.load(beside, other);
#pragma unroll
    for (int j = 0; j < Pixels; ++j) {
      const float met[2] = {before != 0 ? above[j][0] : below[j][0],
                            before != 0 ? above[j][1] : below[j][1]};
      taps.meet(tap(1, j), met, other, of_other);
    }
    column.put(beside, other, of_other, taps);
#pragma unroll
    for (int j = 0; j < Pixels; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) above[j][i] = below[j][i];
  }
}

// g of the tile in the place of v, and the warps' totals.
template <int Stride, class T>
__device__ void walk(const Sizes& s, const Place& place, int first, const T* of_taps, const T* dy,
                     T* v, BackwardShared& shared) {
  const int pair = static_cast<int>(threadIdx.x) % kPairs;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int other = static_cast<int>(threadIdx.x) / kPairs % 2;
  // All threads of a warp have columns of the same parity.
  const int at = warp + kWarps * other;
  const Column<T> column{v + at * kPitch + 2 * pair, place.column + at < s.w ? s.h - place.row : 0,
                         Bounds<T>(s.activation)};
  ThreadTaps taps(s, of_taps, first + 2 * pair);
  dy += 2 * pair;
  if constexpr (Stride == 1) {
    walk_stride1(dy + at * kPitch, column, taps);
  } else {
    // Tiles begin at even columns.
    const int left = (at + s.before_w) / 2 - s.before_w;
    if ((at + s.before_w) % 2 == 0)
      walk_stride2<2>(s.before_h, dy + left * kPitch, column, taps);
    else
      walk_stride2<1>(s.before_h, dy + (left + 1) * kPitch, column, taps);
  }
#pragma unroll
  for (int i = 0; i < kTotals; ++i) {
    float2 sum;
    sum.x = taps.totals[i][0] + __shfl_xor_sync(kAllLanes, taps.totals[i][0], kPairs);
    sum.y = taps.totals[i][1] + __shfl_xor_sync(kAllLanes, taps.totals[i][1], kPairs);
    if (other == 0) shared.totals[warp][i][pair] = sum;
  }
}

}  // namespace dfengine::cuda::expand_depthwise
