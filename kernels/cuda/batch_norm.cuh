// How the rows and channels of a batch norm are cut into blocks: a function of the shape alone, so
// that sums are always added in the same order.
#pragma once

#include <algorithm>

#include "kernels/cuda/platform.cuh"

namespace dfengine::cuda {

// A block reads `rows` rows of groups * 8 channels: neighbouring threads take neighbouring channel
// groups, `lanes` rows at a time.
struct BatchNormTile {
  static constexpr int kThreads = 256;

  int groups = 0;            // of 8 channels, per block
  int lanes = 0;             // groups * lanes <= kThreads
  Index channel_blocks = 0;  // blocks side by side over the channels
  Index rows = 0;            // per block
  Index chunks = 0;          // blocks over the rows

  static BatchNormTile make(Index m, Index c) {
    constexpr Index kMaxGroups = 32;
    // Four blocks on each of 132 multiprocessors, and some rows for every lane.
    constexpr Index kBlocks = 528, kRowsPerLane = 8;
    const Index all = divide_up(c, kVector);
    BatchNormTile tile;
    tile.channel_blocks = divide_up(all, kMaxGroups);
    tile.groups = static_cast<int>(divide_up(all, tile.channel_blocks));
    tile.lanes = kThreads / tile.groups;
    const Index wanted = std::max<Index>(1, kBlocks / tile.channel_blocks);
    const Index most = std::max<Index>(1, m / (tile.lanes * kRowsPerLane));
    tile.rows = divide_up(m, std::min(wanted, most));
    tile.chunks = divide_up(m, tile.rows);
    return tile;
  }
};

}  // namespace dfengine::cuda
