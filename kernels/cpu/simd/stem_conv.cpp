// Stem rows, vectorised over output channels.
//
// A tile is several neighbouring output pixels by one or two vectors of output channels: all its
// sums stay in registers while the 27 inputs of each pixel are broadcast. Tiles that reach over the
// image border read a zero-padded copy of their patch instead. In bf16 the forward pass rounds the
// weights and takes inputs in pairs, as the pointwise product does.
#include "kernels/cpu/simd/stem_conv.h"

#include "kernels/cpu/simd/pointwise_conv.h"
#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {
namespace {

// Inputs of one pixel in one window row: 3 columns of 3 channels, contiguous in x.
constexpr int kRowTaps = 9;
// What one step of the forward sums takes of them: an input, or a pair of which the last one is
// half.
using Unit = MatrixUnit<Stored>;
constexpr int kInUnit = sizeof(Unit) / sizeof(Stored);
constexpr int kRowSteps = (kRowTaps + kInUnit - 1) / kInUnit;
// Output pixels in a tile. 14 sums on the 32 registers of AVX-512, 8 on 16.
constexpr int kTile = kLanes == 16 ? 7 : 4;
// Vectors of sums per input in the weight gradient: 9 or 18 sums.
constexpr int kWeightVectors = kLanes == 16 ? 2 : 1;

// Covers K with blocks of V full vectors, then single ones: body(Lanes<n>, Lanes<vectors>, start).
template <int V, class Body>
DF_INLINE void for_blocks(Index k, Body&& body) {
  Index i = 0;
  if constexpr (V > 1) {
    for (; i + V * kLanes <= k; i += V * kLanes) body(Lanes<kLanes>{}, Lanes<V>{}, i);
  }
  for_lanes(k - i, [&](auto lanes, Index at) { body(lanes, Lanes<1>{}, i + at); });
}

// The inputs of `Pixels` output pixels: window row r starts at data + r * row.
struct Patch {
  const Stored* data;
  Index row;
};

template <int Pixels, int Stride>
inline constexpr int kPatchColumns = Stride*(Pixels - 1) + 3;

// The patch of output pixels [q, q + Pixels) of output row p. It is that of the image itself where
// it lies inside, otherwise a copy in buffer [3, kPatchColumns, 3] with zeros around.
template <int Pixels, int Stride>
DF_INLINE Patch patch_of(const StemProblem& p, const Stored* image, Index row, Index q,
                         Stored* buffer) {
  constexpr int kColumns = kPatchColumns<Pixels, Stride>;
  const Index top = row * Stride - p.before_h, left = q * Stride - p.before_w;
  if (top >= 0 && top + 3 <= p.h && left >= 0 && left + kColumns <= p.w) {
    return {image + (top * p.w + left) * 3, p.w * 3};
  }
  for (Index i = 0; i < 3 * kColumns; ++i) {
    const Index r = top + i / kColumns, s = left + i % kColumns;
    const bool inside = r >= 0 && r < p.h && s >= 0 && s < p.w;
    for (Index c = 0; c < 3; ++c) {
      buffer[i * 3 + c] = inside ? image[(r * p.w + s) * 3 + c] : Stored{};
    }
  }
  return {buffer, kColumns * 3};
}

// Weights as the steps take them: those of step i at w + i * row.
struct Taps {
  const Unit* w;
  Index row;
};

#if DF_ISA_avx512bf16
DF_INLINE Unit unit_of(const Stored* row, int step) {
  if (2 * step + 1 == kRowTaps) return {row[2 * step].bits};
  Unit pair;
  __builtin_memcpy(&pair, row + 2 * step, sizeof(pair));
  return pair;
}

// Rounds the weights [27, K] of N channels to pairs.
template <int N>
DF_INLINE void pack_taps(const float* w, Index k, Index row, Unit* packed) {
  for (int i = 0; i < 3 * kRowSteps; ++i) {
    const int tap = i / kRowSteps * kRowTaps + i % kRowSteps * 2;
    Stored first[N], second[N] = {};
    store<N>(first, load<N>(w + tap * k));
    if (i % kRowSteps * 2 + 1 < kRowTaps) store<N>(second, load<N>(w + (tap + 1) * k));
    for (int lane = 0; lane < N; ++lane)
      packed[i * row + lane] = {static_cast<std::uint32_t>(second[lane].bits) << 16 |
                                first[lane].bits};
  }
}

template <int N, int V>
struct TapsOf {
  Unit packed[3 * kRowSteps * V * N];

  Taps take(const float* w, Index k) {
    for (int v = 0; v < V; ++v) pack_taps<N>(w + v * N, k, V * N, packed + v * N);
    return {packed, V * N};
  }
};
#else
DF_INLINE Unit unit_of(const Stored* row, int step) {
  return row[step];
}

template <int N, int V>
struct TapsOf {
  Taps take(const float* w, Index k) { return {w, k}; }
};
#endif

template <Activation A, int N, int V>
DF_INLINE void activate_tile(Vec<N> (*sums)[V]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sums[t][v] = activate<A, N>(sums[t][v]);
  }
}

// Makes `count` output pixels of V * N channels of k. The pointers of the epilogue and y point at
// the first channel of the tile, y also at its first pixel.
template <int Stride, int N, int V>
DF_INLINE void forward_tile(const Patch& x, const Taps& taps, Index k, Index count,
                            const Epilogue<Stored>& epilogue, Stored* y) {
  Vec<N> sums[kTile][V];
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      sums[t][v] = epilogue.bias ? load<N>(epilogue.bias + v * N) : Vec<N>{};
  }
  for (int r = 0; r < 3; ++r) {
    const Stored* row = x.data + r * x.row;
#pragma GCC unroll 9
    for (int i = 0; i < kRowSteps; ++i) {
      const Unit* w = taps.w + (r * kRowSteps + i) * taps.row;
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) {
        const Unit value = unit_of(row + t * 3 * Stride, i);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) add_product<N>(value, load_units<N>(w + v * N), sums[t][v]);
      }
    }
  }
  if (epilogue.activation == Activation::Relu6) activate_tile<Activation::Relu6, N, V>(sums);
  if (epilogue.activation == Activation::Relu) activate_tile<Activation::Relu, N, V>(sums);
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) {
    if (t >= count) break;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const Index at = t * k + v * N;
      store<N>(y + at,
               epilogue.residual ? sums[t][v] + load<N>(epilogue.residual + at) : sums[t][v]);
    }
  }
}

template <int Stride>
void forward_rows(const StemProblem& p, const Stored* x, const float* w,
                  const Epilogue<Stored>& epilogue, Index begin, Index end, Stored* y) {
  Stored buffer[3 * kPatchColumns<kTile, Stride> * 3];
  for_blocks<2>(p.k, [&](auto lanes, auto vectors, Index k) {
    constexpr int N = decltype(lanes)::value, V = decltype(vectors)::value;
    TapsOf<N, V> packed;
    const Taps taps = packed.take(w + k, p.k);
    for (Index row = begin; row < end; ++row) {
      const Stored* image = x + row / p.p * p.h * p.w * 3;
      for (Index q = 0; q < p.q; q += kTile) {
        const auto patch = patch_of<kTile, Stride>(p, image, row % p.p, q, buffer);
        const Index first = (row * p.q + q) * p.k + k;
        const Epilogue<Stored> at{epilogue.bias ? epilogue.bias + k : nullptr, epilogue.activation,
                                  epilogue.residual ? epilogue.residual + first : nullptr};
        forward_tile<Stride, N, V>(patch, taps, p.k, p.q - q, at, y + first);
      }
    }
  });
}

void forward(const StemProblem& p, const Stored* x, const float* w,
             const Epilogue<Stored>& epilogue, Index begin, Index end, Stored* y) {
  if (p.stride == 1) return forward_rows<1>(p, x, w, epilogue, begin, end, y);
  forward_rows<2>(p, x, w, epilogue, begin, end, y);
}

// Columns [left, left + columns) of an image row in float, zeros outside.
DF_INLINE void float_row(const Stored* row, Index width, Index left, Index columns, float* to) {
  const Index begin = left < 0 ? -left : 0, end = left + columns > width ? width - left : columns;
  for (Index i = 0; i < begin * 3; ++i) to[i] = 0;
  for_lanes((end - begin) * 3, [&](auto lanes, Index i) {
    constexpr int N = decltype(lanes)::value;
    store<N>(to + begin * 3 + i, load<N>(row + (left + begin) * 3 + i));
  });
  for (Index i = end * 3; i < columns * 3; ++i) to[i] = 0;
}

// partial [9, K] += window row r over output row `row` of the image. partial and dy, which is that
// row, point at the channel.
template <int Stride, int N, int V>
DF_INLINE void weight_row(const StemProblem& p, const Stored* image, const Stored* dy, Index row,
                          int r, float* partial) {
  constexpr Index kAtOnce = 64;  // output pixels
  const Index i = row * Stride + r - p.before_h;
  if (i < 0 || i >= p.h) return;
  float buffer[kPatchColumns<kAtOnce, Stride> * 3];
  Vec<N> sums[kRowTaps][V];
#pragma GCC unroll 9
  for (int tap = 0; tap < kRowTaps; ++tap) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sums[tap][v] = load<N>(partial + tap * p.k + v * N);
  }
  for (Index first = 0; first < p.q; first += kAtOnce) {
    const Index count = p.q - first < kAtOnce ? p.q - first : kAtOnce;
    float_row(image + i * p.w * 3, p.w, first * Stride - p.before_w, Stride * (count - 1) + 3,
              buffer);
    for (Index q = 0; q < count; ++q) {
#pragma GCC unroll 9
      for (int tap = 0; tap < kRowTaps; ++tap) {
        const Vec<N> value = broadcast<N>(buffer[q * Stride * 3 + tap]);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sums[tap][v] += value * load<N>(dy + (first + q) * p.k + v * N);
      }
    }
  }
#pragma GCC unroll 9
  for (int tap = 0; tap < kRowTaps; ++tap) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store<N>(partial + tap * p.k + v * N, sums[tap][v]);
  }
}

template <int Stride>
void backward_weight_rows(const StemProblem& p, const Stored* x, const Stored* dy, Index begin,
                          Index end, float* partial) {
  for (Index row = begin; row < end; ++row) {
    const Stored* image = x + row / p.p * p.h * p.w * 3;
    const Stored* grads = dy + row * p.q * p.k;
    for_blocks<kWeightVectors>(p.k, [&](auto lanes, auto vectors, Index k) {
      for (int r = 0; r < 3; ++r) {
        weight_row<Stride, decltype(lanes)::value, decltype(vectors)::value>(
            p, image, grads + k, row % p.p, r, partial + r * kRowTaps * p.k + k);
      }
    });
  }
}

void backward_weight(const StemProblem& p, const Stored* x, const Stored* dy, Index begin,
                     Index end, float* partial) {
  if (p.stride == 1) return backward_weight_rows<1>(p, x, dy, begin, end, partial);
  backward_weight_rows<2>(p, x, dy, begin, end, partial);
}

}  // namespace

const StemTable<Stored> stem = {forward, backward_weight};

}  // namespace dfengine::cpu::DF_ISA
