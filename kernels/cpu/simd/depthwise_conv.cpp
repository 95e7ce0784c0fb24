// Depthwise 3x3 rows, vectorised over channels. Taps are floats.
#include "kernels/cpu/simd/depthwise_conv.h"

#include "kernels/cpu/simd/depthwise_slide.h"

namespace dfengine::cpu::DF_ISA {
namespace {

// Column pairs in a tile of the stride 2 data gradient.
constexpr int kPairs = 4;
// Pixels in a tile of the weight gradient, beside its 9 sums.
constexpr int kWeightTile = kLanes == 16 ? 7 : 4;

void forward(const DepthwiseProblem& p, const Stored* x, const float* w,
             const Epilogue<Stored>& epilogue, Index begin, Index end, Stored* y) {
  const Slide slide{.h = p.h,
                    .w = p.w,
                    .c = p.c,
                    .q = p.q,
                    .before_h = p.before_h,
                    .before_w = p.before_w,
                    .taps = w,
                    .tap_row = 3 * p.c,
                    .tap_column = p.c,
                    .bias = epilogue.bias,
                    .activation = epilogue.activation,
                    .streamed = streamed(p)};
  const auto run = p.stride == 1 ? slide_batch<1> : slide_batch<2>;
  run(slide, x, p.p, begin, end, epilogue.residual, y);
}

// At stride 1 dx is the correlation of dy with the flipped window.
void backward_data_stride1(const DepthwiseProblem& p, const Stored* dy, const float* w, Write write,
                           Index begin, Index end, Stored* dx) {
  const Slide slide{.h = p.p,
                    .w = p.q,
                    .c = p.c,
                    .q = p.w,
                    .before_h = 2 - p.before_h,
                    .before_w = 2 - p.before_w,
                    .taps = w + 8 * p.c,
                    .tap_row = -3 * p.c,
                    .tap_column = -p.c,
                    .streamed = streamed(p)};
  slide_batch<1>(slide, dy, p.h, begin, end, write == Write::Accumulate ? dx : nullptr, dx);
}

// One row of dx at stride 2. An even padded column j + before_w = 2m gets tap 0 of dy's column m
// and tap 2 of column m - 1; an odd one, 2m + 1, gets tap 1 of column m. The same holds for rows.
struct Gather {
  const Stored* dy[2] = {};   // the one or two dy rows that reach this dx row, [Q, C]
  const float* taps[2] = {};  // their window rows, [3, C]
  int rows = 0;
  const Stored* next;  // the dy row that the next dx rows add
  Index w, c, q, before_w;
  Write write;
};

// Makes column pairs [m, m + kPairs) and stores the columns inside the row. dx is the row at the
// channel.
template <int N, bool Edge>
DF_INLINE void gather_tile(const Gather& gather, Index m, Index channel, Stored* dx) {
  Vec<N> even[kPairs] = {}, odd[kPairs] = {};
  const Index place = m * gather.c + kPairs * channel;
  prefetch<2 * kPairs * N>(dx - channel + gather.w * gather.c + 2 * place);
  if (gather.rows == 1) prefetch<kPairs * N>(gather.next + place);
  for (int i = 0; i < gather.rows; ++i) {
    const float* taps = gather.taps[i] + channel;
    const Vec<N> w0 = load<N>(taps), w1 = load<N>(taps + gather.c);
    const Vec<N> w2 = load<N>(taps + 2 * gather.c);
#pragma GCC unroll 8
    for (int j = -1; j < kPairs; ++j) {
      if (Edge && !inside(m + j, gather.q)) continue;
      const Vec<N> v = load<N>(gather.dy[i] + (m + j) * gather.c + channel);
      if (j >= 0) even[j] += v * w0;
      if (j >= 0) odd[j] += v * w1;
      if (j + 1 < kPairs) even[j + 1] += v * w2;
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < 2 * kPairs; ++t) {
    const Index column = 2 * m + t - gather.before_w;
    if (Edge && !inside(column, gather.w)) continue;
    Stored* out = dx + column * gather.c;
    const Vec<N> sum = t % 2 == 0 ? even[t / 2] : odd[t / 2];
    store<N>(out, gather.write == Write::Accumulate ? sum + load<N>(out) : sum);
  }
}

void gather_row(const Gather& gather, Stored* dx) {
  for (Index m = 0; 2 * m < gather.w + gather.before_w; m += kPairs) {
    const bool whole =
        m >= 1 && m + kPairs <= gather.q && 2 * (m + kPairs) - gather.before_w <= gather.w;
    for_lanes(gather.c, [&](auto lanes, Index channel) {
      constexpr int N = decltype(lanes)::value;
      if (whole) {
        gather_tile<N, false>(gather, m, channel, dx + channel);
      } else {
        gather_tile<N, true>(gather, m, channel, dx + channel);
      }
    });
  }
}

void backward_data_stride2(const DepthwiseProblem& p, const Stored* dy, const float* w, Write write,
                           Index begin, Index end, Stored* dx) {
  for (Index row = begin; row < end; ++row) {
    const Stored* image = dy + row / p.h * p.p * p.q * p.c;
    const Index padded = row % p.h + p.before_h;
    Gather gather{.next = image + (padded + 1) / 2 * p.q * p.c,
                  .w = p.w,
                  .c = p.c,
                  .q = p.q,
                  .before_w = p.before_w,
                  .write = write};
    for (Index r = padded % 2; r < 3; r += 2) {
      const Index source = (padded - r) / 2;
      if (padded < r || source >= p.p) continue;
      gather.dy[gather.rows] = image + source * p.q * p.c;
      gather.taps[gather.rows] = w + r * 3 * p.c;
      ++gather.rows;
    }
    gather_row(gather, dx + row * p.w * p.c);
  }
}

void backward_data(const DepthwiseProblem& p, const Stored* dy, const float* w, Write write,
                   Index begin, Index end, Stored* dx) {
  const auto rows = p.stride == 1 ? backward_data_stride1 : backward_data_stride2;
  rows(p, dy, w, write, begin, end, dx);
}

// sums[r * 3 + s] += dy pixels [q, q + kWeightTile) times the x that they saw. x, which is the
// image, and dy, which is the row, point at the channel.
template <int N, int Stride, bool Edge>
DF_INLINE void weight_tile(const DepthwiseProblem& p, const Stored* x, const Stored* dy, Index top,
                           Index q, Vec<N>* sums) {
  Vec<N> grads[kWeightTile];
#pragma GCC unroll 8
  for (int t = 0; t < kWeightTile; ++t)
    grads[t] = Edge && q + t >= p.q ? Vec<N>{} : load<N>(dy + (q + t) * p.c);
  const Index column = q * Stride - p.before_w;
#pragma GCC unroll 3
  for (int r = 0; r < 3; ++r) {
    if (!inside(top + r, p.h)) continue;
    const Stored* row = x + (top + r) * p.w * p.c;
#pragma GCC unroll 16
    for (int j = 0; j < (kWeightTile - 1) * Stride + 3; ++j) {
      if (Edge && !inside(column + j, p.w)) continue;
      const Vec<N> v = load<N>(row + (column + j) * p.c);
#pragma GCC unroll 8
      for (int t = 0; t < kWeightTile; ++t) {
        const int s = j - t * Stride;
        if (s >= 0 && s < 3) sums[r * 3 + s] += v * grads[t];
      }
    }
  }
}

// dy rows that one channel vector passes over before the next does.
struct Pass {
  Index begin, end;
};

// Each tile asks for its share of the rows that lie one pass ahead of `row`.
template <int N, int Stride>
DF_INLINE void prefetch_pass(const DepthwiseProblem& p, const Stored* x, const Stored* dy,
                             Index row, Index length, Index place) {
  constexpr int kShare = kWeightTile * N;
  const Index top = row / p.p * p.h + (row % p.p + length) * Stride;
  prefetch<Stride * Stride * kShare>(x + top * p.w * p.c + Stride * Stride * place);
  prefetch<kShare>(dy + (row + length) * p.q * p.c + place);
}

// partial += the share of the rows of a pass, for one channel vector.
template <int N, int Stride>
DF_INLINE void weight_channels(const DepthwiseProblem& p, const Stored* x, const Stored* dy,
                               const Pass& pass, Index channel, float* partial) {
  Vec<N> sums[9];
#pragma GCC unroll 9
  for (int i = 0; i < 9; ++i) sums[i] = load<N>(partial + i * p.c + channel);
  for (Index row = pass.begin; row < pass.end; ++row) {
    const Stored* image = x + row / p.p * p.h * p.w * p.c + channel;
    const Stored* grads = dy + row * p.q * p.c + channel;
    const Index top = row % p.p * Stride - p.before_h;
    for (Index q = 0; q < p.q; q += kWeightTile) {
      const Index column = q * Stride - p.before_w;
      prefetch_pass<N, Stride>(p, x, dy, row, pass.end - pass.begin,
                               q * p.c + kWeightTile * channel);
      if (column >= 0 && column + (kWeightTile - 1) * Stride + 3 <= p.w) {
        weight_tile<N, Stride, false>(p, image, grads, top, q, sums);
      } else {
        weight_tile<N, Stride, true>(p, image, grads, top, q, sums);
      }
    }
  }
#pragma GCC unroll 9
  for (int i = 0; i < 9; ++i) store<N>(partial + i * p.c + channel, sums[i]);
}

template <int Stride>
void weight_rows(const DepthwiseProblem& p, const Stored* x, const Stored* dy, Index begin,
                 Index end, float* partial) {
  // Two passes, the current one and the one asked for, should stay in the second-level cache.
  constexpr Index kPassElements = 32 * 1024;
  const Index length = kPassElements / ((p.q + Stride * p.w) * p.c) + 1;
  for (Index first = begin; first < end; first += length) {
    const Pass pass{.begin = first, .end = least(end, first + length)};
    for_lanes(p.c, [&](auto lanes, Index channel) {
      weight_channels<decltype(lanes)::value, Stride>(p, x, dy, pass, channel, partial);
    });
  }
}

void backward_weight(const DepthwiseProblem& p, const Stored* x, const Stored* dy, Index begin,
                     Index end, float* partial) {
  const auto rows = p.stride == 1 ? weight_rows<1> : weight_rows<2>;
  rows(p, x, dy, begin, end, partial);
}

}  // namespace

const DepthwiseTable<Stored> depthwise = {forward, backward_data, backward_weight};

}  // namespace dfengine::cpu::DF_ISA
