// What an mma and a warp's part of a wgmma compute, and how tensor cores add.
#pragma once

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

constexpr int kTileRows = 16, kTileColumns = 8, kTileDepth = 16;

struct Tile {
  float a[kTileRows][kTileDepth], b[kTileDepth][kTileColumns], c[kTileRows][kTileColumns];
};

// c += a b
void multiply(Tile& tile);

// One such product of so many depths, where products are counted.
inline void count_product(const Warp& warp, int depth = kTileDepth) {
  if (warp.block->traffic != nullptr)
    warp.block->traffic->flops += 2 * kTileRows * kTileColumns * depth;
}

// Where element e of a lane's fragment C lies. PTX ISA, "Matrix Fragments for mma.m16n8k16 with
// floating point type".
inline int row_of_c(int lane, int e) {
  return lane / 4 + (e >= 2 ? 8 : 0);
}
inline int column_of_c(int lane, int e) {
  return lane % 4 * 2 + e % 2;
}

}  // namespace dfengine::ptx
