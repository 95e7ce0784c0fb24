// Which pointwise problem gets which tile.
// Most of MobileNetV2's pointwise layers are bound by the bytes they stream, so a tile covers all
// columns where it can: the long operand is then read once. Deep products are bound by what their
// tiles load from shared memory; for them the steps are long. Bounds by times on an H100.
#include "kernels/cuda/pointwise/pointwise_config.h"

#include <algorithm>

#include "kernels/cuda/pointwise/pointwise_tiles.cuh"

namespace dfengine::cuda {
namespace {

// An H100 has so many. Elsewhere the number only makes the last round of blocks less even.
constexpr Index kMultiprocessors = 132;

Index places(PointwiseTile tile) {
  return with_tile(tile, [](auto t) { return kMultiprocessors * t.kBlocks; });
}

// Whether the blocks of all rounds take at least 7 of 10 places.
bool fills(PointwiseTile tile, Index rows, Index columns) {
  const TileSize size = size_of(tile);
  const Index tiles = divide_up(rows, size.rows) * divide_up(columns, size.columns);
  return 10 * tiles >= 7 * places(tile) * divide_up(tiles, places(tile));
}

PointwiseTile widest(Index columns, Index depth, std::size_t limit, Beside beside) {
  using enum PointwiseTile;
  constexpr Index kDeep = 256;
  const auto fits = [=](PointwiseTile tile) { return shared_memory_of(tile, beside) <= limit; };
  if (columns <= 16) return k256x16x32;
  if (columns <= 32) return depth <= 144 ? k256x32x32 : k128x32x64;
  if (columns <= 64) return k128x64x64;
  if (columns <= 96) return depth > 32 && fits(k128x96x64) ? k128x96x64 : k128x96x16;
  if (depth >= kDeep) {
    const bool wide = 10 * round_up(columns, Index{96}) <= 11 * round_up(columns, Index{64});
    return wide && fits(k128x96x64) ? k128x96x64 : k128x64x64;
  }
  if ((columns <= 144 || columns % 144 == 0) && fits(k128x144x32)) return k128x144x32;
  if ((columns <= 192 || columns % 192 == 0) && fits(k128x192x32)) return k128x192x32;
  // With anything beside it there is no tile of 192.
  if (beside != Beside::Nothing && columns % 96 == 0)
    return depth > 64 && fits(k128x96x64) ? k128x96x64 : k128x96x16;
  return fits(k128x128x32) ? k128x128x32 : k128x64x64;
}

PointwiseWeightTile widest_weight(Index k, Index c) {
  using enum PointwiseWeightTile;
  const Index narrow = std::min(k, c);
  if (std::max(k, c) <= 32) return k32x32;
  if (narrow <= 32) return k < c ? k32x192 : k192x32;
  if (narrow <= 64) return k < c ? k64x192 : k192x64;
  return k < c ? k96x192 : k192x96;
}

// Whether the tiles that cover the results hold at most twice as many.
bool wastes_little(const TileSize& size, Index rows, Index columns) {
  return round_up(rows, size.rows) * round_up(columns, size.columns) <= 2 * rows * columns;
}

// Gives each multiprocessor so many blocks. There are fewer where the dw of all parts, written and
// read, would pass half the bytes of x and dy, or where a part would be too short to fill the ring
// twice.
PointwiseWeightConfig weight_config(const PointwiseProblem& p, PointwiseWeightTile tile,
                                    Index blocks) {
  const TileSize size = size_of(tile);
  const Index tiles = divide_up(p.k, size.rows) * divide_up(p.c, size.columns);
  const Index ring = with_tile(tile, [](auto t) { return Index{t.kStages} * t.kDepth; });
  const Index light = p.m * (p.k + p.c) / (8 * p.k * p.c);
  const Index wanted =
      std::max<Index>(1, std::min({blocks * kMultiprocessors / tiles, light, p.m / (2 * ring)}));
  const Index rows = round_up(divide_up(p.m, wanted), size.depth);
  return {.tile = tile, .parts = divide_up(p.m, rows), .rows_per_part = rows};
}

std::string name_of(const TileSize& size) {
  return std::to_string(size.rows) + "x" + std::to_string(size.columns) + "x" +
         std::to_string(size.depth);
}

}  // namespace

TileSize size_of(PointwiseTile tile) {
  return with_tile(tile, [](auto t) {
    return TileSize{.rows = t.kRows, .columns = t.kColumns, .depth = t.kDepth};
  });
}

TileSize size_of(PointwiseWeightTile tile) {
  return with_tile(tile, [](auto t) {
    return TileSize{.rows = t.kRows, .columns = t.kColumns, .depth = t.kDepth};
  });
}

PointwiseConfig choose_config(Index rows, Index columns, Index depth, std::size_t limit,
                              Beside beside) {
  PointwiseTile tile = widest(columns, depth, limit, beside);
  if (!fills(tile, rows, columns)) tile = PointwiseTile::k64x64x64;
  if (!fills(tile, rows, columns)) tile = PointwiseTile::k32x32x64;
  return {.tile = tile, .blocks = places(tile)};
}

PointwiseWeightConfig choose_weight_config(const PointwiseProblem& p) {
  return weight_config(p, widest_weight(p.k, p.c), 2);
}

std::vector<PointwiseConfig> candidate_configs(Index rows, Index columns, Index depth,
                                               std::size_t limit, Beside beside) {
  std::vector<PointwiseConfig> all = {choose_config(rows, columns, depth, limit, beside)};
  for (PointwiseTile tile : kPointwiseTiles)
    if (tile != all[0].tile && shared_memory_of(tile, beside) <= limit &&
        wastes_little(size_of(tile), rows, columns))
      all.push_back({.tile = tile, .blocks = places(tile)});
  return all;
}

// A part for each block of one tile of columns.
Index row_parts(const PointwiseConfig& config, Index rows, Index columns) {
  const TileSize size = size_of(config.tile);
  const Index of_rows = divide_up(rows, size.rows), of_columns = divide_up(columns, size.columns);
  return std::clamp(config.blocks / of_columns, Index{1}, of_rows);
}

std::vector<PointwiseWeightConfig> candidate_weight_configs(const PointwiseProblem& p) {
  std::vector<PointwiseWeightConfig> all = {choose_weight_config(p)};
  for (PointwiseWeightTile tile : kPointwiseWeightTiles) {
    if (tile != all[0].tile && !wastes_little(size_of(tile), p.k, p.c)) continue;
    for (Index blocks : {1, 2, 4}) {
      const PointwiseWeightConfig config = weight_config(p, tile, blocks);
      const auto is_same = [&](const PointwiseWeightConfig& c) {
        return c.tile == tile && c.parts == config.parts;
      };
      if (std::ranges::none_of(all, is_same)) all.push_back(config);
    }
  }
  return all;
}

std::string name_of(const PointwiseConfig& config) {
  return name_of(size_of(config.tile));
}

std::string name_of(const PointwiseWeightConfig& config) {
  return name_of(size_of(config.tile)) + "/" + std::to_string(config.parts);
}

}  // namespace dfengine::cuda
