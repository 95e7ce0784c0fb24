// Devices differ in the shared memory that a block may have: neither the rule nor the list of
// candidates names a tile for which a device has none.
#include <algorithm>
#include <map>

#include "kernels/cuda/pointwise/pointwise_config.h"
#include "layers/networks/architectures.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

using cuda::PointwiseTile;

// Of compute capability 8.6, 8.9 and 12.0, as in an RTX 3090, 4090 and 5090.
constexpr std::size_t kSmall = 99 << 10;

// Calls body(rows, columns, depth) for the forward pass and the data gradient of every pointwise
// layer, at every width of published weights.
template <class Body>
void for_each_product(Body&& body) {
  for (const double width : {0.35, 0.5, 0.75, 1.0, 1.3, 1.4}) {
    const Network network = make_network({.width = width});
    for (const Node& node : network.graph.nodes()) {
      const auto* layer = std::get_if<Convolution>(&node.operation);
      if (layer == nullptr || layer->groups != 1 || layer->window.size != 1) continue;
      for (const Index pictures : {1, 3, 32, 256})
        for (const Index edge : {1, 3, 7, 14, 28, 56, 112}) {
          const Index rows = pictures * edge * edge;
          body(rows, layer->out, layer->in);
          body(rows, layer->in, layer->out);
        }
    }
  }
}

TEST(PointwiseLimit, WhatIsNamedFitsTheDevice) {
  int products = 0;
  for_each_product([&](Index rows, Index columns, Index depth) {
    ++products;
    const PointwiseTile rule = cuda::choose_config(rows, columns, depth, kSmall).tile;
    const auto candidates = cuda::candidate_configs(rows, columns, depth, kSmall);
    EXPECT_EQ(candidates[0].tile, rule);
    for (const cuda::PointwiseConfig& config : candidates)
      EXPECT_LE(cuda::shared_memory_of(config.tile), kSmall)
          << name_of(config) << " for " << rows << "x" << columns << "x" << depth;
  });
  EXPECT_GT(products, 6 * 30 * 4 * 7);
}

// Nothing is lost where a block may have what the largest tile needs, as on an A100 or an H100.
TEST(PointwiseLimit, LargeDevicesHaveEveryTile) {
  std::map<PointwiseTile, int> named;
  for_each_product([&](Index rows, Index columns, Index depth) {
    const auto most = cuda::candidate_configs(rows, columns, depth, cuda::kSharedMemoryOfH100);
    for (const cuda::PointwiseConfig& config : most) ++named[config.tile];
    EXPECT_EQ(most.size(), cuda::candidate_configs(rows, columns, depth, 163 << 10).size());
  });
  EXPECT_EQ(named.size(), std::size(cuda::kPointwiseTiles));
}

TEST(PointwiseLimit, SmallDevicesGetTheNextNarrowerTile) {
  const Index rows = 256 * 56 * 56;
  const auto tile = [](Index columns, Index depth) {
    return cuda::choose_config(rows, columns, depth, kSmall).tile;
  };
  EXPECT_EQ(tile(96, 576), PointwiseTile::k128x96x16);
  EXPECT_EQ(tile(144, 24), PointwiseTile::k128x128x32);
  EXPECT_EQ(tile(384, 64), PointwiseTile::k128x128x32);
  EXPECT_EQ(tile(64, 384), PointwiseTile::k128x64x64);
}

// What plans are made for is the device at hand, or an H100 where there is none.
TEST(PointwiseLimit, TheLimitIsTheDevices) {
  EXPECT_GE(cuda::shared_memory_limit(), kSmall);
  EXPECT_LE(cuda::shared_memory_limit(), cuda::kSharedMemoryOfH100);
  if (cuda::available()) return;
  EXPECT_EQ(cuda::shared_memory_limit(), cuda::kSharedMemoryOfH100);
}

// So there is nothing to choose by.
TEST(PointwiseLimit, EveryTileOfTheWeightGradientFitsEveryDevice) {
  for (const cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
    EXPECT_LE(cuda::shared_memory_of(tile), kSmall) << cuda::size_of(tile).rows;
}

}  // namespace
}  // namespace dfengine::test
