// The pointwise forward pass on the tensor cores of compute capability 9.0
// (kernels/cuda/wgmma.cuh), for Half and BFloat16. These tiles compete in the choice of a plan
// alone: no rule takes one.
#pragma once

#include <string>
#include <vector>

#include "kernels/channel_moments.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// Rows x columns of a tile.
enum class WarpgroupTile { k128x64, k128x80, k128x96 };
constexpr WarpgroupTile kWarpgroupTiles[] = {WarpgroupTile::k128x64, WarpgroupTile::k128x80,
                                             WarpgroupTile::k128x96};

struct WarpgroupConfig {
  WarpgroupTile tile = WarpgroupTile::k128x96;
  Index blocks = 0;  // are started at most, and each takes tiles in turn
};
// Those that compute at most twice the results asked for; none where the device has no such cores.
// With moments two blocks of 128x96 would not fit a multiprocessor.
std::vector<WarpgroupConfig> warpgroup_configs(const PointwiseProblem& p,
                                               Beside beside = Beside::Nothing);
TileSize size_of(WarpgroupTile tile);
// Into how many parts of rows the moments of so many columns are divided.
Index row_parts(const WarpgroupConfig& config, Index rows, Index columns);
std::string name_of(const WarpgroupConfig& config);  // "warpgroup 128x96"

// As in kernels/cuda/pointwise/pointwise_config.h.
template <class T>
void pointwise_forward(Stream stream, const WarpgroupConfig& config, const PointwiseProblem& p,
                       const T* x, const T* w, const Epilogue<T, float>& epilogue, T* y,
                       const NormOnLoad& norm = {});
template <class T>
void pointwise_forward_moments(Stream stream, const WarpgroupConfig& config,
                               const PointwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments);

}  // namespace dfengine::cuda
