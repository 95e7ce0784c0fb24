// How the 16-bit pointwise kernels cut their work. The choice of a plan (pointwise_choice.h) times
// the candidates, and tests run them all. Every one gives the same results up to the order of a sum
// in float.
#pragma once

#include <string>
#include <vector>

#include "kernels/channel_moments.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/pointwise/pointwise_tile_names.h"
#include "kernels/norm_gradient.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// Rows and columns of a tile.
struct TileSize {
  Index rows, columns, depth;
};
TileSize size_of(PointwiseTile tile);
// What a kernel makes beside its results: a forward pass their moments (kernels/channel_moments.h),
// a data gradient its sums (kernels/norm_gradient.h).
enum class Beside { Nothing, Moments, GradientSums };
// Bytes of shared memory that a block needs, with nothing beside it the larger of forward and data
// gradient. Where there is no such kernel, more than there are.
std::size_t shared_memory_of(PointwiseTile tile, Beside beside = Beside::Nothing);

struct PointwiseConfig {
  PointwiseTile tile = PointwiseTile::k32x32x64;
  Index blocks = 0;  // are started at most, and each takes tiles in turn
};
// Of the tiles that need at most so many bytes of shared memory.
PointwiseConfig choose_config(Index rows, Index columns, Index depth,
                              std::size_t limit = shared_memory_limit(),
                              Beside beside = Beside::Nothing);
// The rule's choice, then every other such tile that computes at most twice the results asked for.
std::vector<PointwiseConfig> candidate_configs(Index rows, Index columns, Index depth,
                                               std::size_t limit = shared_memory_limit(),
                                               Beside beside = Beside::Nothing);
// Into how many parts of rows moments or sums of so many columns are divided.
Index row_parts(const PointwiseConfig& config, Index rows, Index columns);
std::string name_of(const PointwiseConfig& config);  // "128x96x16"

TileSize size_of(PointwiseWeightTile tile);
std::size_t shared_memory_of(PointwiseWeightTile tile);  // what every device since sm_80 has

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
// The same without an epilogue, and the moments of y: of so many parts as row_parts(config, m, k)
// says.
template <class T>
void pointwise_forward_moments(Stream stream, const PointwiseConfig& config,
                               const PointwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments);
template <class T>
void pointwise_backward_data(Stream stream, const PointwiseConfig& config,
                             const PointwiseProblem& p, const T* dy, const T* w, Write write,
                             T* dx);
// dx behind the activation of the norm of x, and its sums: of so many parts as row_parts(config, m,
// c) says.
template <class T>
void pointwise_gradient_sums(Stream stream, const PointwiseConfig& config,
                             const PointwiseProblem& p, const T* dy, const T* w, const T* x,
                             const NormOnLoad& norm, T* dx, const GradientSums& sums);
// scratch has config.scratch(p) floats.
template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseWeightConfig& config,
                               const PointwiseProblem& p, const T* x, const T* dy, float* scratch,
                               float* dw, const NormOnLoad& norm = {});

}  // namespace dfengine::cuda
