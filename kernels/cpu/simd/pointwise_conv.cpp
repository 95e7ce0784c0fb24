// Matrix product by register tiles: for each strip of columns, all rows.
#include "kernels/cpu/simd/pointwise_conv.h"

#include "kernels/cpu/simd/gemm.h"

namespace dfengine::cpu::DF_ISA {
namespace {

// Largest tile: accumulators, the vectors of B and one broadcast of A fill the register file
// (32 registers for AVX-512, 16 below).
#if DF_ISA_avx512
constexpr int kTileRows = 12, kTileColumns = 32;
#elif DF_ISA_avx2
constexpr int kTileRows = 6, kTileColumns = 16;
#else
constexpr int kTileRows = 6, kTileColumns = 8;
#endif
constexpr Index kFloatsPerLine = 16;

// What a strip fetches into the cache while it computes. The first strip meets rows of A that no
// one has read yet. Where blocks of depth follow each other, the other strips fetch B of the next.
struct Ahead {
  bool first;
  const float* next;  // first element of this strip's part of the next B, or null
  Index next_stride;
};

template <Order O>
void set_ahead(const Ahead& ahead, Index i, Index rows, Tile& tile) {
  if (ahead.first && O == Order::RowMajor) {
    tile.ahead = tile.a + rows * tile.a_stride;  // the next tile's rows, whole
    tile.ahead_step = rows;
  } else if (ahead.first) {
    tile.ahead = tile.a + tile.depth * tile.a_stride;  // this tile's columns in the next block
    tile.ahead_step = tile.a_stride;
  } else if (ahead.next != nullptr) {
    tile.ahead = ahead.next + i % 2 * kFloatsPerLine;
    tile.ahead_step = ahead.next_stride;
  }
}

template <Order O, int Columns>
void multiply_strip(const MatrixBlock& block, Tile tile, Ahead ahead) {
  constexpr int kStripLanes = Columns < kLanes ? Columns : kLanes;
  constexpr int kVectors = Columns / kStripLanes;
  // Equal shares: 49 rows are 10 10 10 10 9, not 12 12 12 12 1.
  const Index tiles = (block.rows + kTileRows - 1) / kTileRows;
  const Index rows = block.rows / tiles, larger = block.rows % tiles;
  const TileFunction function = tile_function<O, kTileRows, kVectors, kStripLanes>(rows);
  const TileFunction function_larger =
      larger > 0 ? tile_function<O, kTileRows, kVectors, kStripLanes>(rows + 1) : function;
  for (Index i = 0; i < tiles; ++i) {
    const Index step = i < larger ? rows + 1 : rows;
    set_ahead<O>(ahead, i, step, tile);
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
      const Ahead ahead{.first = j == 0,
                        .next = block.next == nullptr ? nullptr : block.next + j - kTileColumns,
                        .next_stride = block.next_stride};
      if (step == 8) {
        multiply_strip<O, 8>(block, tile, ahead);
      } else if (step == 16) {
        if constexpr (kTileColumns >= 16) multiply_strip<O, 16>(block, tile, ahead);
      } else {
        if constexpr (kTileColumns >= 32) multiply_strip<O, 32>(block, tile, ahead);
      }
    }
  }
}

}  // namespace

extern const MatrixTable matrix = {&multiply_block<Order::RowMajor>,
                                   &multiply_block<Order::Transposed>};

}  // namespace dfengine::cpu::DF_ISA
