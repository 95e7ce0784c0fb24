// Matrix product by register tiles: for each strip of columns, all rows. A tile is R rows by V
// vectors of L columns. It is held in registers over the whole depth, beginning with the bias, then
// finished (clamp, residual) and stored once. T is the type of Y.
#include "kernels/cpu/simd/pointwise_conv.h"

#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {
namespace {

using Unit = MatrixUnit<Stored>;

// Calls body(i) for i in [0, N), written out N times: the accumulators become registers only if no
// loop over them is left.
template <int N, class Body>
DF_INLINE void unrolled(const Body& body) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) body(i);
}

// Loops of this many steps are long enough to hide the wait for the lines of y.
constexpr Index kPrefetchDepth = 64;

// How A lies in memory: [rows, depth] or [depth, rows].
enum class Order { RowMajor, Transposed };

// The tile's part of a MatrixBlock, every pointer at the tile's first element.
template <class T>
struct Tile {
  Index depth;
  const Unit* a;
  Index a_stride;
  const Unit* b;
  Index b_step;   // units from one step of depth to the next: the width of the panel
  Index columns;  // that are stored: fewer than the tile has at the right edge
  T* y;
  Index y_stride;
  const float* bias;
  const T* residual;
  float low, high;
  const void* ahead;  // is fetched into the cache meanwhile, ahead_step bytes per step of depth
  Index ahead_step;
};

DF_INLINE const void* moved(const void* p, Index bytes) {
  return static_cast<const char*>(p) + bytes;
}

// What the sums of vector v begin with.
template <class T, int L>
DF_INLINE Vec<L> start(const Tile<T>& t, int v) {
  if (t.bias == nullptr) return Vec<L>{};
  if ((v + 1) * L <= t.columns) return load<L>(t.bias + v * L);
  float bias[L] = {};
  for (Index j = v * L; j < t.columns; ++j) bias[j - v * L] = t.bias[j];
  return load<L>(bias);
}

// Finishes and stores a tile whose every column exists.
template <class T, int R, int V, int L>
DF_INLINE void store_whole(const Tile<T>& t, Vec<L> (&acc)[R][V]) {
  if (t.low > -__builtin_inff() || t.high < __builtin_inff()) {
    // The bound comes first in each comparison, so that NaN passes.
    const Vec<L> low = broadcast<L>(t.low), high = broadcast<L>(t.high);
    unrolled<R>(
        [&](int r) { unrolled<V>([&](int v) { acc[r][v] = vmin(high, vmax(low, acc[r][v])); }); });
  }
  const Index stride = t.y_stride;
  if (const T* residual = t.residual; residual != nullptr) {
    unrolled<R>([&](int r) {
      unrolled<V>([&](int v) { acc[r][v] += load<L>(residual + r * stride + v * L); });
    });
  }
  T* y = t.y;
  unrolled<R>([&](int r) { store_vectors<L, V>(y + r * stride, acc[r]); });
}

// Does the same one by one, from values [rows, width]. It is out of line because the right edge is
// rare.
template <class T>
__attribute__((noinline)) void store_edge(const Tile<T>& t, const float* values, int rows,
                                          int width) {
  for (int r = 0; r < rows; ++r) {
    for (Index j = 0; j < t.columns; ++j) {
      float value = values[r * width + j];
      value = t.low > value ? t.low : value;
      value = t.high < value ? t.high : value;
      if (t.residual != nullptr) value += load<1>(t.residual + r * t.y_stride + j)[0];
      store<1>(t.y + r * t.y_stride + j, Vec<1>{value});
    }
  }
}

template <class T, Order O, int R, int V, int L>
void multiply_tile(const Tile<T>& t) {
  // Three rows share a pointer: base, base + stride and base + 2 * stride are all one x86 address
  // each, so that twelve rows take four registers.
  constexpr int kGroups = (R + 2) / 3;
  const Index stride = t.a_stride;
  const Unit* a[kGroups];
  unrolled<kGroups>([&](int g) { a[g] = O == Order::RowMajor ? t.a + 3 * g * stride : t.a; });
  const Unit* b = t.b;
  const void* ahead = t.ahead;
  Vec<L> acc[R][V];
  unrolled<V>([&](int v) {
    const Vec<L> bias = start<T, L>(t, v);
    unrolled<R>([&](int r) { acc[r][v] = bias; });
  });
  if (t.depth >= kPrefetchDepth) {
    unrolled<R>([&](int r) {
      unrolled<V>([&](int v) { __builtin_prefetch(t.y + r * t.y_stride + v * L, 1); });
    });
  }
  for (Index k = 0; k < t.depth; ++k) {
    Units<Unit, L> right[V];
    unrolled<V>([&](int v) { right[v] = load_units<L>(b + v * L); });
    unrolled<R>([&](int r) {
      const Unit left = O == Order::RowMajor ? a[r / 3][r % 3 * stride] : a[0][r];
      unrolled<V>([&](int v) { add_product<L>(left, right[v], acc[r][v]); });
    });
    unrolled<kGroups>([&](int g) { a[g] += O == Order::RowMajor ? 1 : stride; });
    b += t.b_step;
    __builtin_prefetch(ahead);
    ahead = moved(ahead, t.ahead_step);
  }
  if (t.columns < V * L) {
    float values[R * V * L];
    unrolled<R>(
        [&](int r) { unrolled<V>([&](int v) { store<L>(values + (r * V + v) * L, acc[r][v]); }); });
    store_edge<T>(t, values, R, V * L);
  } else {
    store_whole<T, R, V, L>(t, acc);
  }
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

// The tile function for `rows` in [1, R].
template <class T, Order O, int R, int V, int L>
TileFunction<T> tile_function(Index rows) {
  if constexpr (R > 1) {
    if (rows < R) return tile_function<T, O, R - 1, V, L>(rows);
  }
  return &multiply_tile<T, O, R, V, L>;
}

// The largest tile: its accumulators, the vectors of B and one broadcast of A fill the register
// file, which has 32 registers with AVX-512 and 16 without.
#if DF_ISA_avx512
constexpr int kFullTileRows = 12, kTileColumns = 32;
#elif DF_ISA_avx2
constexpr int kFullTileRows = 6, kTileColumns = 16;
#else
constexpr int kFullTileRows = 6, kTileColumns = 8;
#endif
// Under a sanitizer, large tiles take minutes to compile. The result is the same for any tile.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kTileRows = kFullTileRows / 3;
#else
constexpr int kTileRows = kFullTileRows;
#endif
constexpr Index kLine = 64;  // bytes

// Points tile.ahead at memory that the product needs soon, so that it arrives during the
// arithmetic. Otherwise the layers of large images wait for memory. What it points at depends on
// the strip:
// - The first strip meets rows of A that no strip has read yet, and fetches the next rows.
// - The others fetch the y of the next tile where depth is small, as much of the time goes to
//   storing.
// - Where a further block of depth follows, they fetch its B at the columns one strip back.
template <class T, Order O>
void set_ahead(const MatrixBlock<Unit, T>& block, Index column, Index i, Index rows,
               Tile<T>& tile) {
  constexpr Index kUnit = sizeof(Unit);
  if (O == Order::RowMajor) {
    if (column == 0) {
      tile.ahead = tile.a + rows * tile.a_stride;
      tile.ahead_step = rows * kUnit;  // depth steps cover all the rows, which are contiguous
    } else if (tile.depth < kPrefetchDepth) {
      tile.ahead = moved(tile.y + rows * tile.y_stride, i % 2 * kLine);
      tile.ahead_step = tile.y_stride * static_cast<Index>(sizeof(T));
    }
  } else if (column == 0) {
    tile.ahead = tile.a + tile.depth * tile.a_stride;
    tile.ahead_step = tile.a_stride * kUnit;
  } else if (block.next != nullptr) {
    tile.ahead = moved(
        block.next, (column - kTileColumns) * static_cast<Index>(sizeof(Stored)) + i % 2 * kLine);
    tile.ahead_step = block.next_stride;
  }
}

// `column` is where the strip starts.
template <class T, Order O, int Columns>
void multiply_strip(const MatrixBlock<Unit, T>& block, Tile<T> tile, Index column) {
  constexpr int kStripLanes = Columns < kLanes ? Columns : kLanes;
  constexpr int kVectors = Columns / kStripLanes;
  // Tiles have equal shares: 49 rows are 10 10 10 10 9, not 12 12 12 12 1.
  const Index tiles = (block.rows + kTileRows - 1) / kTileRows;
  const Index rows = block.rows / tiles, larger = block.rows % tiles;
  const auto function = tile_function<T, O, kTileRows, kVectors, kStripLanes>(rows);
  const auto function_larger =
      larger > 0 ? tile_function<T, O, kTileRows, kVectors, kStripLanes>(rows + 1) : function;
  for (Index i = 0; i < tiles; ++i) {
    const Index step = i < larger ? rows + 1 : rows;
    set_ahead<T, O>(block, column, i, step, tile);
    (i < larger ? function_larger : function)(tile);
    tile.a += O == Order::RowMajor ? step * tile.a_stride : step;
    tile.y += step * tile.y_stride;
    if (tile.residual != nullptr) tile.residual += step * tile.y_stride;
  }
}

template <class T, Order O>
void multiply_block(const MatrixBlock<Unit, T>& block) {
  Index width = 0;
  for (Index panel = 0; panel < block.columns; panel += width) {
    width = panel_width(block.columns - panel);
    Index step = 0;
    for (Index j = panel; j < panel + width && j < block.columns; j += step) {
      step = panel + width - j < kTileColumns ? panel + width - j : kTileColumns;
      const Tile<T> tile{.depth = block.depth,
                         .a = block.a,
                         .a_stride = block.a_stride,
                         .b = block.packed + panel * block.depth + (j - panel),
                         .b_step = width,
                         .columns = block.columns - j,
                         .y = block.y + j,
                         .y_stride = block.y_stride,
                         .bias = block.bias == nullptr ? nullptr : block.bias + j,
                         .residual = block.residual == nullptr ? nullptr : block.residual + j,
                         .low = block.low,
                         .high = block.high,
                         .ahead = block.a,
                         .ahead_step = 0};
      if (step == 8) {
        multiply_strip<T, O, 8>(block, tile, j);
      } else if (step == 16) {
        if constexpr (kTileColumns >= 16) multiply_strip<T, O, 16>(block, tile, j);
      } else {
        if constexpr (kTileColumns >= 32) multiply_strip<T, O, 32>(block, tile, j);
      }
    }
  }
}

}  // namespace

extern const MatrixTable<Stored> matrix = {&multiply_block<Stored, Order::RowMajor>,
                                           &multiply_block<float, Order::Transposed>};

}  // namespace dfengine::cpu::DF_ISA
