// Matrix product by register tiles: for each strip of columns, all rows.
#include "kernels/cpu/simd/pointwise_conv.h"

#include "kernels/cpu/simd/gemm.h"

namespace dfengine::cpu::DF_ISA {
namespace {

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
constexpr Index kFloatsPerLine = 16;

// Points tile.ahead at memory that the product needs soon, so that it arrives during the
// arithmetic. Otherwise the layers of large images wait for memory. What it points at depends on
// the strip:
// - The first strip meets rows of A that no strip has read yet, and fetches the next rows.
// - The others fetch the y of the next tile where depth is small, as much of the time goes to
//   storing.
// - Where a further block of depth follows, they fetch its B at the columns one strip back.
template <Order O>
void set_ahead(const MatrixBlock& block, Index column, Index i, Index rows, Tile& tile) {
  if (O == Order::RowMajor) {
    if (column == 0) {
      tile.ahead = tile.a + rows * tile.a_stride;
      tile.ahead_step = rows;  // depth steps cover all the rows, which are contiguous
    } else if (tile.depth < kPrefetchDepth) {
      tile.ahead = tile.y + rows * tile.y_stride + i % 2 * kFloatsPerLine;
      tile.ahead_step = tile.y_stride;
    }
  } else if (column == 0) {
    tile.ahead = tile.a + tile.depth * tile.a_stride;
    tile.ahead_step = tile.a_stride;
  } else if (block.next != nullptr) {
    tile.ahead = block.next + column - kTileColumns + i % 2 * kFloatsPerLine;
    tile.ahead_step = block.next_stride;
  }
}

// `column` is where the strip starts.
template <Order O, int Columns>
void multiply_strip(const MatrixBlock& block, Tile tile, Index column) {
  constexpr int kStripLanes = Columns < kLanes ? Columns : kLanes;
  constexpr int kVectors = Columns / kStripLanes;
  // Tiles have equal shares: 49 rows are 10 10 10 10 9, not 12 12 12 12 1.
  const Index tiles = (block.rows + kTileRows - 1) / kTileRows;
  const Index rows = block.rows / tiles, larger = block.rows % tiles;
  const TileFunction function = tile_function<O, kTileRows, kVectors, kStripLanes>(rows);
  const TileFunction function_larger =
      larger > 0 ? tile_function<O, kTileRows, kVectors, kStripLanes>(rows + 1) : function;
  for (Index i = 0; i < tiles; ++i) {
    const Index step = i < larger ? rows + 1 : rows;
    set_ahead<O>(block, column, i, step, tile);
    (i < larger ? function_larger : function)(tile);
    tile.a += O == Order::RowMajor ? step * tile.a_stride : step;
    tile.y += step * tile.y_stride;
    if (tile.residual != nullptr) tile.residual += step * tile.y_stride;
  }
}

template <Order O>
void multiply_block(const MatrixBlock& block) {
  Index width = 0;
  for (Index panel = 0; panel < block.columns; panel += width) {
    width = panel_width(block.columns - panel);
    Index step = 0;
    for (Index j = panel; j < panel + width && j < block.columns; j += step) {
      step = panel + width - j < kTileColumns ? panel + width - j : kTileColumns;
      const Tile tile{.depth = block.depth,
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
        multiply_strip<O, 8>(block, tile, j);
      } else if (step == 16) {
        if constexpr (kTileColumns >= 16) multiply_strip<O, 16>(block, tile, j);
      } else {
        if constexpr (kTileColumns >= 32) multiply_strip<O, 32>(block, tile, j);
      }
    }
  }
}

}  // namespace

extern const MatrixTable matrix = {&multiply_block<Order::RowMajor>,
                                   &multiply_block<Order::Transposed>};

}  // namespace dfengine::cpu::DF_ISA
