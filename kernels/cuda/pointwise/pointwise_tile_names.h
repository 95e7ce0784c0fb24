// The names of the tiles among which the 16-bit pointwise kernels choose.
#pragma once

namespace dfengine::cuda {

// Tiles of forward and data gradient, y[rows, columns] = a[rows, depth] b: rows x columns x depth.
enum class PointwiseTile {
  k256x16x32,
  k256x32x32,
  k128x32x64,
  k128x64x64,
  k128x96x16,
  k128x96x64,
  k128x128x32,
  k128x144x32,
  k128x192x32,
  k64x64x64,
  k32x32x64,
};
constexpr PointwiseTile kPointwiseTiles[] = {
    PointwiseTile::k256x16x32,  PointwiseTile::k256x32x32,  PointwiseTile::k128x32x64,
    PointwiseTile::k128x64x64,  PointwiseTile::k128x96x16,  PointwiseTile::k128x96x64,
    PointwiseTile::k128x128x32, PointwiseTile::k128x144x32, PointwiseTile::k128x192x32,
    PointwiseTile::k64x64x64,   PointwiseTile::k32x32x64};

// Tiles of the weight gradient, dw[k, c]: k x c.
enum class PointwiseWeightTile { k32x32, k32x192, k192x32, k64x192, k192x64, k96x192, k192x96 };
constexpr PointwiseWeightTile kPointwiseWeightTiles[] = {
    PointwiseWeightTile::k32x32,  PointwiseWeightTile::k32x192, PointwiseWeightTile::k192x32,
    PointwiseWeightTile::k64x192, PointwiseWeightTile::k192x64, PointwiseWeightTile::k96x192,
    PointwiseWeightTile::k192x96};

}  // namespace dfengine::cuda
