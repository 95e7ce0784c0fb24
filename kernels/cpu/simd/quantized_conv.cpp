// Matrix products by register tiles, as in pointwise_conv.cpp, and depthwise windows by columns:
// the three rows of a column are interleaved once, and serve the windows that share the column.
#include "kernels/cpu/simd/quantized_conv.h"

#include "kernels/cpu/simd/pointwise_conv.h"
#include "kernels/cpu/simd/quantized_vec.h"

namespace dfengine::cpu::DF_ISA {
namespace {

// Calls body(i) for i in [0, N), written out N times.
template <int N, class Body>
DF_INLINE void unrolled(const Body& body) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) body(i);
}

// ---- Matrix product ----

// The largest tile: R rows by kTileColumns. Where products of words do the work, the registers that
// hold them leave room for fewer rows.
#if DF_ISA_avx512vnni
constexpr int kWidest = 16, kTileRows = 12, kTileColumns = 32;
#elif DF_ISA_avx512
constexpr int kWidest = 16, kTileRows = 6, kTileColumns = 32;
#elif DF_ISA_avx2
constexpr int kWidest = 8, kTileRows = 4, kTileColumns = 16;
#else
constexpr int kWidest = 4, kTileRows = 4, kTileColumns = 8;
#endif

// R rows by V vectors of N columns of a panel `width` wide, which b points into.
template <int N, int R, int V>
void multiply_tile(const QuantizedBlock& t, const std::int8_t* b, Index width) {
  // Three rows share a pointer, as in pointwise_conv.cpp.
  constexpr int kGroups = (R + 2) / 3;
  const Index stride = t.a_stride;
  const std::uint8_t* a[kGroups];
  unrolled<kGroups>([&](int g) { a[g] = t.a + 3 * g * stride; });
  Sums<N> sums[R][V];
  unrolled<R>([&](int r) { unrolled<V>([&](int v) { sums[r][v] = Sums<N>{}; }); });
  for (Index k = 0; k < t.depth; ++k) {
    Sums<N> right[V];
    unrolled<V>([&](int v) { right[v] = load_sums<N>(b + v * N * kQuad); });
    unrolled<R>([&](int r) {
      const Sums<N> left = broadcast_bytes<N>(a[r / 3] + r % 3 * stride);
      unrolled<V>([&](int v) { add_products(sums[r][v], left, right[v]); });
    });
    unrolled<kGroups>([&](int g) { a[g] += kQuad; });
    b += width * kQuad;
  }
  const QuantizedEpilogue& e = t.epilogue;
  const auto finish = [&](auto residual) __attribute__((always_inline)) {
    unrolled<V>([&](int v) {
      const Sums<N> bias = load_sums<N>(e.bias + v * N);
      const float* scale = e.scale + v * N;
      unrolled<R>([&](int r) {
        const Index to = r * t.y_stride + v * N;
        Sums<N> q = sums[r][v] + bias;
        if constexpr (residual.value)
          q = scaled<N>(q, scale, e.residual + to, e.residual_zero, e.residual_scale);
        else
          q = scaled<N>(q, scale);
        store_bytes<N>(t.y + to, q, e.zero);
      });
    });
  };
  if (e.residual != nullptr)
    finish(Constant<true>{});
  else
    finish(Constant<false>{});
}

using TileFunction = void (*)(const QuantizedBlock&, const std::int8_t*, Index);

// The tile function for `rows` in [1, R].
template <int N, int R, int V>
TileFunction tile_function(Index rows) {
  if constexpr (R > 1) {
    if (rows < R) return tile_function<N, R - 1, V>(rows);
  }
  return &multiply_tile<N, R, V>;
}

// All rows of a strip of columns, which tile.packed and the epilogue begin at, at most R at a time.
template <int N, int V, int R = kTileRows>
void multiply_strip(QuantizedBlock tile, Index width) {
  const Index tiles = (tile.rows + R - 1) / R;
  const Index rows = tile.rows / tiles, larger = tile.rows % tiles;
  for (Index i = 0; i < tiles; ++i) {
    const Index step = i < larger ? rows + 1 : rows;
    tile_function<N, R, V>(step)(tile, tile.packed, width);
    tile.a += step * tile.a_stride;
    tile.y += step * tile.y_stride;
    if (tile.epilogue.residual != nullptr) tile.epilogue.residual += step * tile.y_stride;
  }
}

void multiply(const QuantizedBlock& block) {
  Index width = 0;
  for (Index panel = 0; panel < block.columns; panel += width) {
    width = panel_width(block.columns - panel);
    Index step = 0;
    for (Index j = panel; j < panel + width && j < block.columns; j += step) {
      step = panel + width - j < kTileColumns ? panel + width - j : kTileColumns;
      if (step > block.columns - j) step = 8;  // a panel wider than the columns that are left
      QuantizedBlock tile = block;
      tile.packed += (panel * block.depth + (j - panel)) * kQuad;
      tile.epilogue.bias += j;
      tile.epilogue.scale += j;
      tile.y += j;
      if (tile.epilogue.residual != nullptr) tile.epilogue.residual += j;
#if DF_ISA_avx512
      if (step == 32) multiply_strip<16, 2>(tile, width);
      if (step == 16) multiply_strip<16, 1>(tile, width);
      if (step == 8) multiply_strip<8, 1, 4>(tile, width);
#elif DF_ISA_avx2
      if (step == 16) multiply_strip<8, 2>(tile, width);
      if (step == 8) multiply_strip<8, 1>(tile, width);
#else
      multiply_strip<4, 2>(tile, width);
#endif
    }
  }
}

// ---- Depthwise ----

// The three rows of an input that an output row needs, at its first channel of a group; a row of
// zeros outside of the image stands still.
struct Rows {
  const std::uint8_t* row[3];
  Index step[3];
};

// A column of the window in N vectors, channels as depthwise_position() says.
template <int L, int N>
struct Column {
  Sums<L> part[N];
};

// Bytes of a group at one pixel. One of 8 channels fills half of a vector.
template <int L, int N>
DF_INLINE Sums<L> group_bytes(const std::uint8_t* p) {
  if constexpr (N == 2) {
    std::uint8_t bytes[16] = {};
    __builtin_memcpy(bytes, p, 8);
    return load_sums<L>(bytes);
  } else {
    return load_sums<L>(p);
  }
}

template <int L, int N>
DF_INLINE Column<L, N> interleave(const Rows& rows, Index q) {
  const Sums<L> a = group_bytes<L, N>(rows.row[0] + q * rows.step[0]);
  const Sums<L> b = group_bytes<L, N>(rows.row[1] + q * rows.step[1]);
  const Sums<L> c = group_bytes<L, N>(rows.row[2] + q * rows.step[2]);
  const Sums<L> low = low_bytes(a, b), low_c = low_bytes(c, Sums<L>{});
  Column<L, N> column;
  column.part[0] = low_words(low, low_c);
  column.part[1] = high_words(low, low_c);
  if constexpr (N == 4) {
    const Sums<L> high = high_bytes(a, b), high_c = high_bytes(c, Sums<L>{});
    column.part[2] = low_words(high, high_c);
    column.part[3] = high_words(high, high_c);
  }
  return column;
}

// What a group of channels is computed with.
struct Group {
  const std::int8_t* weights;
  Index column_bytes, vector_bytes;  // of weights
  const std::int32_t* bias;
  const float* scale;
  Index vector_sums;  // of bias and scale, from one vector to the next
  int zero;
};

template <int L, int N>
DF_INLINE void store_window(const Group& g, const Column<L, N>& left, const Column<L, N>& middle,
                            const Column<L, N>& right, std::uint8_t* y) {
  Sums<L> q[N];
  unrolled<N>([&](int n) {
    const std::int8_t* w = g.weights + n * g.vector_bytes;
    Sums<L> sums = load_sums<L>(g.bias + n * g.vector_sums);
    add_products(sums, left.part[n], load_sums<L>(w));
    add_products(sums, middle.part[n], load_sums<L>(w + g.column_bytes));
    add_products(sums, right.part[n], load_sums<L>(w + 2 * g.column_bytes));
    q[n] = scaled<L>(sums, g.scale + n * g.vector_sums);
  });
  const Sums<L> low = words(q[0], q[1], g.zero);
  if constexpr (N == 4) {
    const Sums<L> all = bytes(low, words(q[2], q[3], g.zero));
    __builtin_memcpy(y, &all, sizeof(all));
  } else {
    const Sums<L> all = bytes(low, low);
    __builtin_memcpy(y, &all, 8);
  }
}

// One row of output, one group of channels.
template <int L, int N>
void depthwise_row(const DepthwiseProblem& p, const Rows& rows, const Group& g, std::uint8_t* y) {
  using C = Column<L, N>;
  const auto column = [&](Index j) __attribute__((always_inline)) {
    return j >= 0 && j < p.w ? interleave<L, N>(rows, j) : C{};
  };
  Index j = -p.before_w;
  C left = column(j);
  for (Index q = 0; q < p.q; ++q) {
    const C middle = column(j + 1), right = column(j + 2);
    store_window<L, N>(g, left, middle, right, y + q * p.c);
    j += p.stride;
    left = p.stride == 2 ? right : middle;
  }
}

// The same at stride 1, where two of the three columns have been seen.
template <int L, int N>
void depthwise_row_1(const DepthwiseProblem& p, const Rows& rows, const Group& g, std::uint8_t* y) {
  using C = Column<L, N>;
  const auto column = [&](Index j) __attribute__((always_inline)) {
    return j >= 0 && j < p.w ? interleave<L, N>(rows, j) : C{};
  };
  C a = column(-p.before_w), b = column(1 - p.before_w), c = {};
  const auto window = [&](Index q, const C& left, const C& middle, C& right)
      __attribute__((always_inline)) {
    right = column(q + 2 - p.before_w);
    store_window<L, N>(g, left, middle, right, y + q * p.c);
  };
  Index q = 0;
  for (; q + 3 <= p.q; q += 3) {
    window(q, a, b, c);
    window(q + 1, b, c, a);
    window(q + 2, c, a, b);
  }
  if (q < p.q) window(q, a, b, c);
  if (q + 1 < p.q) window(q + 1, b, c, a);
}

template <int L, int N>
void depthwise_part(const DepthwiseProblem& p, const Rows& rows, const Group& g, std::uint8_t* y) {
  if (p.stride == 1)
    depthwise_row_1<L, N>(p, rows, g, y);
  else
    depthwise_row<L, N>(p, rows, g, y);
}

// A group in parts as wide as a register.
template <int L>
Index depthwise_group_row(const DepthwiseProblem& p, Rows rows, Group g, std::uint8_t* y,
                          Index group) {
  constexpr Index kWidth = 4 * L;
  if (group < kWidth) return 0;
  for (Index c = 0; c < group; c += kWidth) {
    depthwise_part<L, 4>(p, rows, g, y + c);
    for (auto& row : rows.row) row += kWidth;
    g.weights += kWidth;
    g.bias += kWidth / 4;
    g.scale += kWidth / 4;
  }
  return group;
}

void depthwise(const DepthwiseProblem& p, const std::uint8_t* x, const std::int8_t* packed,
               const QuantizedEpilogue& e, Index begin, Index end, std::uint8_t* y) {
  alignas(64) static const std::uint8_t kZeros[64] = {};
  for (Index row = begin; row < end; ++row) {
    const Index n = row / p.p, top = row % p.p * p.stride - p.before_h;
    Index group = 0;
    for (Index c = 0; c < p.c; c += group) {
      group = depthwise_group(p.c - c);
      Rows rows;
      for (int r = 0; r < 3; ++r) {
        const bool inside = top + r >= 0 && top + r < p.h;
        rows.row[r] = inside ? x + (n * p.h + top + r) * p.w * p.c + c : kZeros;
        rows.step[r] = inside ? p.c : 0;
      }
      const Index vectors = group == 8 ? 2 : 4, width = group / vectors;
      const Group g{packed + c * 3 * kQuad,
                    group * kQuad,
                    width * kQuad,
                    e.bias + c,
                    e.scale + c,
                    width,
                    e.zero};
      std::uint8_t* to = y + row * p.q * p.c + c;
      if (group == 8) {
        depthwise_part<4, 2>(p, rows, g, to);
        continue;
      }
      if (depthwise_group_row<kWidest>(p, rows, g, to, group) != 0) continue;
#if DF_ISA_avx512
      if (depthwise_group_row<8>(p, rows, g, to, group) != 0) continue;
#endif
      depthwise_group_row<4>(p, rows, g, to, group);
    }
  }
}

}  // namespace

extern const QuantizedTable quantized_table = {&multiply, &depthwise};

}  // namespace dfengine::cpu::DF_ISA
