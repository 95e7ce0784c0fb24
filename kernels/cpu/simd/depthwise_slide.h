// A 3x3 window that slides over images: the depthwise forward pass, and its data gradient at stride
// 1.
//
// A tile is several neighbouring output pixels of one channel vector. Its sums stay in registers
// while the window rows pass by, and every x vector is loaded once per window row and tile.
// Padding is skipped, never read: only tiles at the left and right border (Edge) test columns.
#pragma once

#include "kernels/cpu/simd/vec.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::cpu::DF_ISA {

// Output widths of MobileNetV2 at 224 are multiples of 7, and 7 sums, 3 taps and an x vector fit
// the 16 registers of the older instruction sets.
inline constexpr int kTile = 7;
// Output rows in a tile: two rows of sums need the 32 registers of AVX-512.
inline constexpr int kTileRows = kLanes == 16 ? 2 : 1;

DF_INLINE Index least(Index a, Index b) {
  return a < b ? a : b;
}

DF_INLINE bool inside(Index i, Index size) {
  return i >= 0 && i < size;
}

// Asks for elements [0, Count) to be brought into the second-level cache. They may lie past the end
// of a buffer, because nothing is read.
template <int Count>
DF_INLINE void prefetch(const Stored* p) {
  constexpr int kLine = 64 / sizeof(Stored);
#pragma GCC unroll 32
  for (int i = 0; i < Count; i += kLine) __builtin_prefetch(p + i, 0, 2);
}

// A window sliding over one image.
struct Slide {
  const Stored* x = nullptr;  // [H, W, C]
  Index h, w, c;
  Index q;  // output columns
  Index before_h, before_w;
  const float* taps;            // tap (0, 0), [C]
  Index tap_row, tap_column;    // from tap to tap; negative for the flipped window
  const float* bias = nullptr;  // [C] or null
  Activation activation = Activation::None;
  bool streamed = false;  // the batch's x and y come from memory, not from a cache
};

// Images and results of more bytes are streamed: asking ahead is then twice as fast, and for fewer
// costs a tenth (bench/NOTES.md, 27 November 2026).
inline constexpr Index kCachedBytes = 8 << 20;

DF_INLINE bool streamed(const DepthwiseProblem& p) {
  return p.n * (p.h * p.w + p.p * p.q) * p.c * Index{sizeof(Stored)} > kCachedBytes;
}

// Sums of a tile: kTile output pixels of each of Rows output rows.
template <int N, int Rows>
using Sums = Vec<N>[Rows][kTile];

// Adds image row I of the tile's patch, whose first column is `column`, to the sums of the one or
// two output rows that see it. x, which is the image row, and taps point at the channel.
template <int N, int Stride, bool Edge, int Rows, int I>
DF_INLINE void add_image_row(const Slide& slide, const Stored* x, Index column, const float* taps,
                             Sums<N, Rows>& sums) {
  Vec<N> w[Rows][3] = {};
#pragma GCC unroll 2
  for (int o = 0; o < Rows; ++o) {
    const int r = I - o * Stride;
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s)
      if (r >= 0 && r < 3) w[o][s] = load<N>(taps + r * slide.tap_row + s * slide.tap_column);
  }
#pragma GCC unroll 16
  for (int j = 0; j < (kTile - 1) * Stride + 3; ++j) {
    if (Edge && !inside(column + j, slide.w)) continue;
    const Vec<N> v = load<N>(x + (column + j) * slide.c);
#pragma GCC unroll 2
    for (int o = 0; o < Rows; ++o) {
      const int r = I - o * Stride;
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) {
        const int s = j - t * Stride;
        if (r >= 0 && r < 3 && s >= 0 && s < 3) sums[o][t] += v * w[o][s];
      }
    }
  }
}

// Adds image rows I and following that lie inside the image; row 0 lies on image row `top`.
template <int N, int Stride, bool Edge, int Rows, int I = 0>
DF_INLINE void add_image_rows(const Slide& slide, Index top, Index column, Index channel,
                              Sums<N, Rows>& sums) {
  if constexpr (I < (Rows - 1) * Stride + 3) {
    if (inside(top + I, slide.h)) {
      add_image_row<N, Stride, Edge, Rows, I>(slide,
                                              slide.x + (top + I) * slide.w * slide.c + channel,
                                              column, slide.taps + channel, sums);
    }
    add_image_rows<N, Stride, Edge, Rows, I + 1>(slide, top, column, channel, sums);
  }
}

template <Activation A, int N, int Rows>
DF_INLINE void activate_tile(Sums<N, Rows>& sums) {
#pragma GCC unroll 2
  for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) sums[o][t] = activate<A, N>(sums[o][t]);
  }
}

// Memory, where x is streamed, keeps up only if it is asked in its own order some rows ahead, since
// tiles take one line here and one there. Each tile asks for its share of the next Rows output rows
// and of the image rows which they add, the first of them `row`. place: elements of one output row
// asked for so far.
template <int N, int Stride, int Rows>
DF_INLINE void prefetch_next(const Slide& slide, Index row, Index place, const Stored* y) {
  constexpr int kShare = Rows * kTile * N;
  prefetch<Stride * Stride * kShare>(slide.x + least(row, slide.h) * slide.w * slide.c +
                                     Stride * Stride * Rows * place);
  prefetch<kShare>(y + Rows * (slide.q * slide.c + place));
}

// Makes output pixels [q, q + kTile) of output rows [p, p + Rows) and stores those inside the row.
// residual and y point at output row p at the channel.
template <int N, int Stride, bool Edge, int Rows>
DF_INLINE void slide_tile(const Slide& slide, Index p, Index q, Index channel,
                          const Stored* residual, Stored* y) {
  const Vec<N> start = slide.bias ? load<N>(slide.bias + channel) : Vec<N>{};
  Sums<N, Rows> sums;
#pragma GCC unroll 2
  for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) sums[o][t] = start;
  }
  const Index top = p * Stride - slide.before_h;
  const Index column = q * Stride - slide.before_w;
  if (slide.streamed)
    prefetch_next<N, Stride, Rows>(slide, top + (Rows - 1) * Stride + 3,
                                   q * slide.c + kTile * channel, y - channel);
  add_image_rows<N, Stride, Edge, Rows>(slide, top, column, channel, sums);
  if (slide.activation == Activation::Relu6) activate_tile<Activation::Relu6, N, Rows>(sums);
  if (slide.activation == Activation::Relu) activate_tile<Activation::Relu, N, Rows>(sums);
#pragma GCC unroll 2
  for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) {
      if (Edge && q + t >= slide.q) break;
      const Index at = (o * slide.q + q + t) * slide.c;
      store<N>(y + at, residual ? sums[o][t] + load<N>(residual + at) : sums[o][t]);
    }
  }
}

// Makes output rows [p, p + Rows). y and residual, which may be null, are row p, [Q, C]. Channels
// are innermost, so that memory is read in its order.
template <int Stride, int Rows>
void slide_rows(const Slide& slide, Index p, const Stored* residual, Stored* y) {
  for (Index q = 0; q < slide.q; q += kTile) {
    const Index column = q * Stride - slide.before_w;
    const bool whole = column >= 0 && column + (kTile - 1) * Stride + 3 <= slide.w;
    for_lanes(slide.c, [&](auto lanes, Index channel) {
      constexpr int N = decltype(lanes)::value;
      const Stored* residual_c = residual ? residual + channel : nullptr;
      if (whole) {
        slide_tile<N, Stride, false, Rows>(slide, p, q, channel, residual_c, y + channel);
      } else {
        slide_tile<N, Stride, true, Rows>(slide, p, q, channel, residual_c, y + channel);
      }
    });
  }
}

// Makes output rows [begin, end), counted over a batch of x [N, H, W, C] and y [N, P, Q, C].
// residual is null or has y's shape.
template <int Stride>
void slide_batch(Slide slide, const Stored* x, Index rows_per_image, Index begin, Index end,
                 const Stored* residual, Stored* y) {
  const Index row_elements = slide.q * slide.c;
  for (Index row = begin, rows; row < end; row += rows) {
    const Index n = row / rows_per_image, p = row % rows_per_image;
    rows = least(kTileRows, least(end - row, rows_per_image - p));
    slide.x = x + n * slide.h * slide.w * slide.c;
    const Stored* residual_row = residual ? residual + row * row_elements : nullptr;
    if (rows == kTileRows) {
      slide_rows<Stride, kTileRows>(slide, p, residual_row, y + row * row_elements);
    } else {
      slide_rows<Stride, 1>(slide, p, residual_row, y + row * row_elements);
    }
  }
}

}  // namespace dfengine::cpu::DF_ISA
