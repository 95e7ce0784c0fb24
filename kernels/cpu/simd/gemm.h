// The register tile of the matrix product: R rows by V vectors of L columns. It is held in
// registers over the whole depth, then finished (bias, clamp, residual) and stored once.
#pragma once

#include "kernels/cpu/simd/matrix_block.h"
#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {

// Calls body(i) for i in [0, N), written out N times: the accumulators become registers only if no
// loop over them is left.
template <int N, class Body>
DF_INLINE void unrolled(const Body& body) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) body(i);
}

// Loops of this many steps are long enough to hide the wait for the lines of y.
inline constexpr Index kPrefetchDepth = 64;

// How A lies in memory: [rows, depth] or [depth, rows].
enum class Order { RowMajor, Transposed };

// The tile's part of a MatrixBlock, every pointer at the tile's first element.
struct Tile {
  Index depth;
  const float* a;
  Index a_stride;
  const float* b;
  Index b_step;   // floats from one step of depth to the next: the width of the panel
  Index columns;  // that are stored: fewer than the tile has at the right edge
  float* y;
  Index y_stride;
  const float* bias;
  const float* residual;
  float low, high;
  const float* ahead;  // is fetched into the cache meanwhile, ahead_step floats per step of depth
  Index ahead_step;
};

// Finishes and stores a tile whose every column exists.
template <int R, int V, int L>
DF_INLINE void store_whole(const Tile& t, Vec<L> (&acc)[R][V]) {
  if (t.bias != nullptr) {
    unrolled<V>([&](int v) {
      const Vec<L> bias = load<L>(t.bias + v * L);
      unrolled<R>([&](int r) { acc[r][v] += bias; });
    });
  }
  // The bound comes first in each comparison, so that NaN passes.
  const Vec<L> low = broadcast<L>(t.low), high = broadcast<L>(t.high);
  unrolled<R>(
      [&](int r) { unrolled<V>([&](int v) { acc[r][v] = vmin(high, vmax(low, acc[r][v])); }); });
  const Index stride = t.y_stride;
  if (const float* residual = t.residual; residual != nullptr) {
    unrolled<R>([&](int r) {
      unrolled<V>([&](int v) { acc[r][v] += load<L>(residual + r * stride + v * L); });
    });
  }
  float* y = t.y;
  unrolled<R>(
      [&](int r) { unrolled<V>([&](int v) { store<L>(y + r * stride + v * L, acc[r][v]); }); });
}

// Does the same one by one, from values [rows, width]. It is out of line because the right edge is
// rare.
__attribute__((noinline)) inline void store_edge(const Tile& t, const float* values, int rows,
                                                 int width) {
  for (int r = 0; r < rows; ++r) {
    for (Index j = 0; j < t.columns; ++j) {
      float value = values[r * width + j];
      if (t.bias != nullptr) value += t.bias[j];
      value = t.low > value ? t.low : value;
      value = t.high < value ? t.high : value;
      if (t.residual != nullptr) value += t.residual[r * t.y_stride + j];
      t.y[r * t.y_stride + j] = value;
    }
  }
}

template <Order O, int R, int V, int L>
void multiply_tile(const Tile& t) {
  // Three rows share a pointer: base, base + stride and base + 2 * stride are all one x86 address
  // each, so that twelve rows take four registers.
  constexpr int kGroups = (R + 2) / 3;
  const Index stride = t.a_stride;
  const float* a[kGroups];
  unrolled<kGroups>([&](int g) { a[g] = O == Order::RowMajor ? t.a + 3 * g * stride : t.a; });
  const float* b = t.b;
  const float* ahead = t.ahead;
  Vec<L> acc[R][V];
  unrolled<R>([&](int r) { unrolled<V>([&](int v) { acc[r][v] = Vec<L>{}; }); });
  if (t.depth >= kPrefetchDepth) {
    unrolled<R>([&](int r) {
      unrolled<V>([&](int v) { __builtin_prefetch(t.y + r * t.y_stride + v * L, 1); });
    });
  }
  for (Index k = 0; k < t.depth; ++k) {
    Vec<L> right[V];
    unrolled<V>([&](int v) { right[v] = load<L>(b + v * L); });
    unrolled<R>([&](int r) {
      const float left = O == Order::RowMajor ? a[r / 3][r % 3 * stride] : a[0][r];
      unrolled<V>([&](int v) { acc[r][v] += broadcast<L>(left) * right[v]; });
    });
    unrolled<kGroups>([&](int g) { a[g] += O == Order::RowMajor ? 1 : stride; });
    b += t.b_step;
    __builtin_prefetch(ahead);
    ahead += t.ahead_step;
  }
  if (t.columns < V * L) {
    float values[R * V * L];
    unrolled<R>(
        [&](int r) { unrolled<V>([&](int v) { store<L>(values + (r * V + v) * L, acc[r][v]); }); });
    store_edge(t, values, R, V * L);
  } else {
    store_whole<R, V, L>(t, acc);
  }
}

using TileFunction = void (*)(const Tile&);

// The tile function for `rows` in [1, R].
template <Order O, int R, int V, int L>
TileFunction tile_function(Index rows) {
  if constexpr (R > 1) {
    if (rows < R) return tile_function<O, R - 1, V, L>(rows);
  }
  return &multiply_tile<O, R, V, L>;
}

}  // namespace dfengine::cpu::DF_ISA
