// The tiles that kernels/cuda/pointwise/pointwise_tile_names.h names.
#pragma once

#include "kernels/cuda/platform.cuh"
#include "kernels/cuda/pointwise/pointwise_tile_names.h"

namespace dfengine::cuda {

// A block of kWarpRows x kWarpColumns x kWarpDepths warps makes kRows x kColumns results at a time,
// from steps of kDepth that are held in a ring of kStages. kBlocks blocks share a multiprocessor.
// Where kWarpDepths is above 1, so many warps share one part of the results and take turns in the
// depth.
template <int Rows, int Columns, int Depth, int WarpRows, int WarpColumns, int WarpDepths,
          int Stages, int Blocks>
struct Tile {
  static constexpr int kRows = Rows, kColumns = Columns, kDepth = Depth;
  static constexpr int kWarpRows = WarpRows, kWarpColumns = WarpColumns, kWarpDepths = WarpDepths;
  static constexpr int kStages = Stages, kBlocks = Blocks;
  static constexpr int kThreads = WarpRows * WarpColumns * WarpDepths * kWarpSize;
  // One warp's part of the results, in fragments of 16 x 8.
  static constexpr int kPartRows = Rows / WarpRows, kPartColumns = Columns / WarpColumns;
  static constexpr int kFragmentRows = kPartRows / 16, kFragmentColumns = kPartColumns / 8;
  static_assert(kPartRows % 16 == 0 && kPartColumns % 16 == 0 && Depth % (16 * WarpDepths) == 0);
};

// Calls body(Tile).
template <class Body>
auto with_tile(PointwiseTile tile, Body&& body) {
  switch (tile) {
    case PointwiseTile::k256x16x32:
      return body(Tile<256, 16, 32, 8, 1, 1, 3, 3>{});
    case PointwiseTile::k256x32x32:
      return body(Tile<256, 32, 32, 8, 1, 1, 3, 2>{});
    case PointwiseTile::k128x32x64:
      return body(Tile<128, 32, 64, 8, 1, 1, 3, 2>{});
    case PointwiseTile::k128x64x64:
      return body(Tile<128, 64, 64, 4, 2, 1, 3, 2>{});
    case PointwiseTile::k128x96x16:
      return body(Tile<128, 96, 16, 4, 2, 1, 4, 2>{});
    case PointwiseTile::k128x96x64:
      return body(Tile<128, 96, 64, 4, 2, 1, 3, 2>{});
    case PointwiseTile::k128x128x32:
      return body(Tile<128, 128, 32, 4, 2, 1, 4, 2>{});
    case PointwiseTile::k128x144x32:
      return body(Tile<128, 144, 32, 8, 1, 1, 3, 2>{});
    case PointwiseTile::k128x192x32:
      return body(Tile<128, 192, 32, 4, 2, 1, 3, 2>{});
    case PointwiseTile::k64x64x64:
      return body(Tile<64, 64, 64, 2, 2, 1, 3, 3>{});
    case PointwiseTile::k32x32x64:
      break;
  }
  return body(Tile<32, 32, 64, 2, 2, 1, 4, 4>{});
}

// The same for weight gradients, whose rows are k, columns c and depth m.
template <class Body>
auto with_tile(PointwiseWeightTile tile, Body&& body) {
  switch (tile) {
    case PointwiseWeightTile::k32x32:
      return body(Tile<32, 32, 128, 1, 1, 8, 3, 3>{});
    case PointwiseWeightTile::k32x192:
      return body(Tile<32, 192, 64, 1, 2, 4, 3, 2>{});
    case PointwiseWeightTile::k192x32:
      return body(Tile<192, 32, 64, 2, 1, 4, 3, 2>{});
    case PointwiseWeightTile::k64x192:
      return body(Tile<64, 192, 32, 2, 4, 1, 4, 2>{});
    case PointwiseWeightTile::k192x64:
      return body(Tile<192, 64, 32, 4, 2, 1, 4, 2>{});
    case PointwiseWeightTile::k96x192:
      return body(Tile<96, 192, 32, 2, 4, 1, 4, 2>{});
    case PointwiseWeightTile::k192x96:
      break;
  }
  return body(Tile<192, 96, 32, 4, 2, 1, 4, 2>{});
}

}  // namespace dfengine::cuda
