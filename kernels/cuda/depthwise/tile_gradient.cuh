// Both gradients of the depthwise convolution on a tile of v.
#pragma once

#include "kernels/cuda/depthwise/tile_taps.cuh"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda::depthwise_tiles {

// The pixels of y that a tile of v meets.
template <int Stride>
constexpr int kHalo = Stride == 1 ? kSide + 2 : kSide / 2 + 1;

// In front of it in shared memory: x, w, w with its rows times the norm's scale, v, y's gradient.
// Behind it what the block has added up so far.
template <class T>
struct BackwardShared {
  ChunkNorm norm;
  ChunkTaps<T> of_taps;
  float taps[kStrips][kTaps][kChunk];
};

// The first row (column) of y that a tile of v meets.
template <int Stride>
__device__ __forceinline__ int first_of(int place, int before) {
  return Stride == 1 ? place + before - 2 : place / 2 + before - 1;
}

// y's gradient: dy, or what its last step makes of dy and y as they are loaded.
template <class T, bool kOnLoad_>
struct OutputGradient {
  static constexpr bool kOnLoad = kOnLoad_;
  const T *y, *dy;
  const float* factors;  // GradientOnLoad
};

// Calls body(OutputGradient).
template <class T, class Body>
void with_gradient(const T* y, const T* dy, const GradientOnLoad& gradient, Body&& body) {
  if (gradient.present())
    body(OutputGradient<T, true>{y, dy, gradient.factors});
  else
    body(OutputGradient<T, false>{y, dy, nullptr});
}

// The gradient under a tile of v: [kHalo^2, kPitch], zeros outside of y and behind the channels.
template <int Stride, class Of, class T>
__device__ void load_gradient(const Sizes& s, const Place& place, int first, const Of& of, T* to) {
  constexpr int kWide = kHalo<Stride>;
  const int vector = static_cast<int>(threadIdx.x) % kVectors, channel = first + vector * kVector;
  const int p0 = first_of<Stride>(place.row, s.before_h);
  const int q0 = first_of<Stride>(place.column, s.before_w);
  const Index image = Index{place.image} * s.p * s.q * s.wide;
  const T *const dy = of.dy + image, *const y_of = of.y + image;
  float factors[GradientOnLoad::kVectors][kVector] = {};
  if (Of::kOnLoad && channel < s.wide) {
#pragma unroll
    for (int k = 0; k < GradientOnLoad::kVectors; ++k)
      load8(of.factors + k * s.wide + channel, factors[k]);
  }
  // Of so many pixels the loads are on their way together.
  constexpr int kTogether = 2;
  for (int begin = static_cast<int>(threadIdx.x) / kVectors; begin < kWide * kWide;
       begin += kTogether * kApart) {
    Packed<T> g[kTogether], y[kTogether];
    bool valid[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int pixel = begin + i * kApart, p = p0 + pixel / kWide, q = q0 + pixel % kWide;
      valid[i] = channel < s.wide && static_cast<unsigned>(p) < static_cast<unsigned>(s.p) &&
                 static_cast<unsigned>(q) < static_cast<unsigned>(s.q) && pixel < kWide * kWide;
      const int from = (p * s.q + q) * s.wide + channel;
      T* const here = to + pixel * kPitch + vector * kVector;
      if constexpr (Of::kOnLoad) {
        g[i] = load_packed(valid[i] ? dy + from : dy);
        y[i] = load_packed(valid[i] ? y_of + from : y_of);
      } else if (pixel < kWide * kWide) {
        copy_async16(here, valid[i] ? dy + from : dy, valid[i]);
      }
    }
    if constexpr (Of::kOnLoad) {
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int pixel = begin + i * kApart;
        if (pixel >= kWide * kWide) continue;
        float of_g[kVector], of_y[kVector];
        unpack(g[i], of_g);
        unpack(y[i], of_y);
#pragma unroll
        for (int k = 0; k < kVector; ++k)
          of_g[k] = valid[i]
                        ? fmaf(factors[0][k], of_g[k], fmaf(factors[1][k], of_y[k], factors[2][k]))
                        : 0.0f;
        store8(to + pixel * kPitch + vector * kVector, of_g);
      }
    }
  }
}

// Where a fragment of 16 pixels of v lies, and the pixels of y's gradient that it meets.
template <int Stride>
struct Pixels;

// A row.
template <>
struct Pixels<1> {
  int row;
  __device__ __forceinline__ Pixels(const Sizes&, const Share& share, int fragment)
      : row(share.strip * kStrips + fragment) {}
  __device__ __forceinline__ int v_row(int) const { return row; }
  __device__ __forceinline__ int v_column(int i) const { return i; }
  // The first that pixel i meets, and from there to the one under a tap.
  __device__ __forceinline__ int first(int i) const { return row * kHalo<1> + i; }
  __device__ __forceinline__ int under(int tap) const {
    return (2 - tap / 3) * kHalo<1> + 2 - tap % 3;
  }
  static constexpr bool meets_pair(int, int) { return true; }
  static constexpr bool meets_middle(int) { return true; }
};

// Every other row of v lies between two rows of y, whose taps 2 and 0 it meets; the rows beside
// them meet tap 1 of one. So do columns. A fragment has two rows of eight pixels of the same kind.
template <>
struct Pixels<2> {
  int first_row;
  bool between_rows, between_columns;
  int before_h, before_w;  // 0 or 1, and tiles begin at even pixels
  __device__ __forceinline__ Pixels(const Sizes& s, const Share& share, int fragment)
      : first_row(2 * share.strip),
        between_rows(fragment < 2),
        between_columns(fragment % 2 == 0),
        before_h(s.before_h),
        before_w(s.before_w) {}
  __device__ __forceinline__ int v_row(int i) const {
    return 2 * (first_row + i / 8) + (between_rows ? before_h : 1 - before_h);
  }
  __device__ __forceinline__ int v_column(int i) const {
    return i % 8 * 2 + (between_columns ? before_w : 1 - before_w);
  }
  __device__ __forceinline__ int first(int i) const {
    return (first_row + i / 8) * kHalo<2> + i % 8;
  }
  __device__ __forceinline__ int under(int tap) const {
    const auto along = [](int of_axis, int before) {
      return of_axis == 0 ? 1 : of_axis == 1 ? 1 - before : 0;
    };
    return along(tap / 3, before_h) * kHalo<2> + along(tap % 3, before_w);
  }
  static constexpr bool meets_pair(int fragment, int pair) {
    return pair < 2 ? fragment == 0 : fragment == pair - 1;
  }
  static constexpr bool meets_middle(int fragment) { return fragment == 3; }
};

// The taps' gradients as products of y's gradient and v over pixels: 16 rows are two taps of eight
// channels, or one of 16, and of a product only what has the same channel twice is of use.
struct TapSums {
  float pairs[kTapPairs][2][4], middle[2][4];

  // Those that such a fragment meets.
  template <int Stride>
  __device__ __forceinline__ void write(const Share& share, int fragment,
                                        float (&to)[kTaps][kChunk]) const {
    if (!share.on_diagonal()) return;
    const auto own = [&](float left, float right) { return share.g % 2 == 0 ? left : right; };
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int channel = share.group + share.g + 8 * half;
#pragma unroll
      for (int pair = 0; pair < kTapPairs; ++pair) {
        if (!Pixels<Stride>::meets_pair(fragment, pair)) continue;
        const float(&sum)[4] = pairs[pair][half];
        to[tap_of(pair, 0)][channel] = own(sum[0], sum[1]);
        to[tap_of(pair, 1)][channel] = own(sum[2], sum[3]);
      }
      if (Pixels<Stride>::meets_middle(fragment))
        to[kMiddle][channel] = own(middle[half][2 * half], middle[half][2 * half + 1]);
    }
  }
};

// Of 16 pixels of v and 16 channels: d, the data gradient, and what they add to the taps'
// gradients. v, dy: at the group's first channel.
template <int Stride, class T>
__device__ __forceinline__ void take_fragment(const Share& share, const Pixels<Stride>& pixels,
                                              int fragment, const Diagonals<T>& taps, const T* v,
                                              const T* dy, Filtered& d, TapSums& sums) {
  // Which pixel a lane loads, as it is and transposed, and then which of two matrices.
  const int lane = share.lane, straight = lane % 16, turned = lane % 8 + lane / 16 * 8;
  const bool second = lane / 16 != 0, second_turned = lane / 8 % 2 != 0;
  std::uint32_t of_v[4], a[4];
  load_matrices_transposed(
      of_v,
      v + (pixels.v_row(straight) * kSide + pixels.v_column(straight)) * kPitch + lane / 16 * 8);
  const T* const from = dy + pixels.first(straight) * kPitch;
  const T* const from_turned = dy + pixels.first(turned) * kPitch;
#pragma unroll
  for (int pair = 0; pair < kTapPairs; ++pair) {
    if (!Pixels<Stride>::meets_pair(fragment, pair)) continue;
    const int one = pixels.under(tap_of(pair, 0)), other = pixels.under(tap_of(pair, 1));
    add_pair(from + (second ? other : one) * kPitch, taps, pair, d);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      load_matrices_transposed(a, from_turned + (second_turned ? other : one) * kPitch + 8 * half);
      mma_16x8x16<T>(sums.pairs[pair][half], a, {of_v[2 * half], of_v[2 * half + 1]});
    }
  }
  if (!Pixels<Stride>::meets_middle(fragment)) return;
  const int middle = pixels.under(kMiddle) * kPitch;
  add_middle(from + middle, lane, taps, d);
  load_matrices_transposed(a, from_turned + middle + (second_turned ? 8 : 0));
#pragma unroll
  for (int half = 0; half < 2; ++half)
    mma_16x8x16<T>(sums.middle[half], a, {of_v[2 * half], of_v[2 * half + 1]});
}

// Where a gradient passes, as v itself tells. v: at the group's first channel.
template <class T>
struct PassesByValue {
  Activation activation;
  const T* v;
  // Of two channels, of which the first lies there in the tile.
  __device__ __forceinline__ void operator()(int at, int /*half*/, bool (&passes)[2]) const {
    float value[2];
    unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(v + at), value);
#pragma unroll
    for (int k = 0; k < 2; ++k) passes[k] = passes_gradient(activation, value[k]);
  }
};

// Puts g in the place of 16 pixels of v. v: at the group's first channel.
template <int Stride, class T, class Passes>
__device__ __forceinline__ void put_fragment(const Sizes& s, const Place& place, const Share& share,
                                             const Pixels<Stride>& pixels, const Passes& passes,
                                             const Filtered& d, T* v) {
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    const int i = share.g + 8 * which, row = pixels.v_row(i), column = pixels.v_column(i);
    const bool inside = place.has(s, row, column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = (row * kSide + column) * kPitch + 8 * half + 2 * share.t;
      bool passing[2];
      passes(at, half, passing);
      float g[2] = {d[half][2 * which], d[half][2 * which + 1]};
#pragma unroll
      for (int k = 0; k < 2; ++k)
        if (!inside || !passing[k]) g[k] = 0.0f;
      *reinterpret_cast<std::uint32_t*>(v + at) = pack_pair<T>(g[0], g[1]);
    }
  }
}

// g of a chunk in the place of v, and the strips' sums of the taps' gradients.
template <int Stride, class T, class Passes>
__device__ void differentiate(const Sizes& s, const Place& place, const Share& share,
                              const Passes& passes, const T* dy, T* v, BackwardShared<T>& shared) {
  const Diagonals<T> taps(share, shared.of_taps);
  TapSums sums = {};
  // At stride 1 all fragments meet all taps, at stride 2 each has its own.
  float(&of_strip)[kTaps][kChunk] = shared.taps[share.strip];
#pragma unroll(Stride == 1 ? 1 : 4)
  for (int fragment = 0; fragment < 4; ++fragment) {
    const Pixels<Stride> pixels(s, share, fragment);
    Filtered d = {};
    take_fragment(share, pixels, fragment, taps, v + share.group, dy + share.group, d, sums);
    put_fragment(s, place, share, pixels, passes, d, v + share.group);
    if (Stride == 2) sums.write<Stride>(share, fragment, of_strip);
  }
  if (Stride == 1) sums.write<Stride>(share, 0, of_strip);
}

// Adds the strips' sums of a chunk, in their order, to those of the block: [9, pitch], so many
// channels.
template <class T>
__device__ void keep_taps(int channels, int pitch, const BackwardShared<T>& shared, float* kept) {
  for (int i = static_cast<int>(threadIdx.x); i < kTaps * kChunk; i += kThreads) {
    const int tap = i / kChunk, channel = i % kChunk;
    if (channel >= channels) continue;
    float sum = 0.0f;
    for (const auto& of_strip : shared.taps) sum += of_strip[tap][channel];
    kept[tap * pitch + channel] += sum;
  }
}

}  // namespace dfengine::cuda::depthwise_tiles
