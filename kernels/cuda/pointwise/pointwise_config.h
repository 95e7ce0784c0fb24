// How the 16-bit pointwise kernels cut their work. The choice of a plan (pointwise_choice.h) times
// the candidates, and tests run them all. Every one gives the same results up to the order of a sum
// in float.
#pragma once

#include <string>
#include <vector>

#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// The tiles of the forward pass and the data gradient, y[rows, columns] = a[rows, depth] b. A name
// gives rows x columns x depth.
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

struct TileSize {
  Index rows, columns, depth;
};
TileSize size_of(PointwiseTile tile);

struct PointwiseConfig {
  PointwiseTile tile = PointwiseTile::k32x32x64;
  Index blocks = 0;  // are started at most, and each takes tiles in turn
};
PointwiseConfig choose_config(Index rows, Index columns, Index depth);
// The rule's choice, then every other tile that computes at most twice the results asked for.
std::vector<PointwiseConfig> candidate_configs(Index rows, Index columns, Index depth);
std::string name_of(const PointwiseConfig& config);  // "128x96x16"

// The tiles of the weight gradient, dw[k, c]. A name gives k x c.
enum class PointwiseWeightTile { k32x32, k32x192, k192x32, k64x192, k192x64, k96x192, k192x96 };
constexpr PointwiseWeightTile kPointwiseWeightTiles[] = {
    PointwiseWeightTile::k32x32,  PointwiseWeightTile::k32x192, PointwiseWeightTile::k192x32,
    PointwiseWeightTile::k64x192, PointwiseWeightTile::k192x64, PointwiseWeightTile::k96x192,
    PointwiseWeightTile::k192x96};
TileSize size_of(PointwiseWeightTile tile);

struct PointwiseWeightConfig {
  PointwiseWeightTile tile = PointwiseWeightTile::k32x32;
  // The rows of x and dy are cut into parts, each with a dw of its own.
  Index parts = 1;
  Index rows_per_part = 0;  // of each but the last
  constexpr Index scratch(const PointwiseProblem& p) const {
    return parts == 1 ? 0 : parts * p.k * p.c;
  }
};
PointwiseWeightConfig choose_weight_config(const PointwiseProblem& p);
// The rule's choice, then every other tile that computes at most twice the results asked for. Each
// has one, two and four rounds of blocks.
std::vector<PointwiseWeightConfig> candidate_weight_configs(const PointwiseProblem& p);
std::string name_of(const PointwiseWeightConfig& config);  // "64x192x32/66" has 66 parts

// The kernels of kernels/pointwise_conv.h for Half and BFloat16, cut as told.
template <class T>
void pointwise_forward(Stream stream, const PointwiseConfig& config, const PointwiseProblem& p,
                       const T* x, const T* w, const Epilogue<T, float>& epilogue, T* y,
                       const NormOnLoad& norm = {});
template <class T>
void pointwise_backward_data(Stream stream, const PointwiseConfig& config,
                             const PointwiseProblem& p, const T* dy, const T* w, Write write,
                             T* dx);
// scratch has config.scratch(p) floats.
template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseWeightConfig& config,
                               const PointwiseProblem& p, const T* x, const T* dy, float* scratch,
                               float* dw, const NormOnLoad& norm = {});

}  // namespace dfengine::cuda
