// What the host does for the kernel of inverted residual blocks: how many warps a block may have,
// and the packing of weights.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/base/stored.h"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/inverted_residual/inverted_residual_tile.cuh"

namespace dfengine::cuda {
namespace {

constexpr std::uint16_t largest_bits(const Half*) {
  return 0x7BFF;
}
constexpr std::uint16_t largest_bits(const BFloat16*) {
  return 0x7F7F;
}

// The parts that add up to v. What is larger than the type's values make up together stays as large
// as they are: the activation behind it is at its bound.
template <class T>
void split_into_parts(double v, T* parts) {
  const double largest = value_of(T{largest_bits(static_cast<T*>(nullptr))});
  for (int part = 0; part < kBiasParts; ++part) {
    parts[part] = stored<T>(std::isnan(v) ? v : std::clamp(v, -largest, largest));
    v -= value_of(parts[part]);
  }
}

// Where kernels read channels beyond the block's own there are zeros.
template <class Tile, class T>
void pack_chunk(const InvertedResidualProblem& p, const InvertedResidualWeights<T>& from,
                Index first, const ChunkWeights<Tile, T>& to) {
  const Index wide = p.depthwise.c;
  for (Index i = 0; i < std::min(wide - first, Index{Tile::kChunk}); ++i) {
    const Index c = first + i;
    for (Index d = 0; d < p.in; ++d)
      to.expand()[i * Tile::kXPitch + Tile::place_of_depth(static_cast<int>(d))] =
          from.expand[at(c * p.in + d)];
    split_into_parts(double{from.expand_bias[at(c)]}, to.expand_bias() + i * kBiasDepths);
    for (Index tap = 0; tap < kTaps; ++tap)
      to.taps()[tap * Tile::kChunk + i] = from.depthwise[at(tap * wide + c)];
    for (Index k = 0; k < p.out; ++k)
      to.project()[k * Tile::kEPitch + i] = from.project[at(k * wide + c)];
    to.filter_bias()[i] = from.depthwise_bias[at(c)];
  }
}

#if defined(__CUDACC__)
constexpr Index kBlocksToFill = 132;
#else
// The stand-in counts as a tiny GPU, so that tests of small images fuse.
constexpr Index kBlocksToFill = 1;
#endif

// The most channels in and out for which a block pays by rule: beyond, most of a tile's columns lie
// outside of the 7x7 pixels.
constexpr Index kMostByRule = 96;

template <class Tile>
Index chunks(const InvertedResidualProblem& p) {
  return divide_up(p.depthwise.c, Index{Tile::kChunk});
}

template <class Tile>
Index tiles(const InvertedResidualProblem& p, int warps) {
  const DepthwiseProblem& d = p.depthwise;
  return d.n * divide_up(d.p, Index{warps * Tile::kRows}) * divide_up(d.q, Index{kTileColumns});
}

// Smaller tiles than usual, and tiles that blocks share, where usual ones leave most of a GPU idle.
template <class Tile>
void add_shared_tiles(const InvertedResidualProblem& p, std::size_t limit,
                      std::vector<InvertedResidualConfig>& configs) {
  if (tiles<Tile>(p, kMostWarps / 2) >= kBlocksToFill) return;
  const auto add = [&](const InvertedResidualConfig& config) {
    const int bytes = Tile::shared_bytes(config.warps * Tile::kRows, config.cluster);
    if (static_cast<std::size_t>(bytes) <= limit && config.splits <= chunks<Tile>(p) &&
        tiles<Tile>(p, config.warps) * config.splits <= 2 * kBlocksToFill &&
        std::ranges::find(configs, config) == configs.end())
      configs.push_back(config);
  };
  for (int warps : {2, 4, 8}) {
    for (int splits : {1, 2, 4, 8, static_cast<int>(chunks<Tile>(p))}) add({warps, splits});
    if (has_clusters())
      for (int splits : {2, 4, kMostBlocksOfCluster}) add({warps, splits, true});
  }
}

[[noreturn]] void no_kernel() {
  throw ShapeError("inverted residual on the device: no kernel for these channels");
}

}  // namespace

std::vector<InvertedResidualConfig> inverted_residual_configs(const InvertedResidualProblem& p,
                                                              std::size_t limit) {
  struct Offer {
    InvertedResidualConfig config;
    bool alone;    // a second block does not fit beside it
    Index e_rows;  // of all tiles of a column, rims and what lies outside of the image included
    int together;  // warps that a multiprocessor has registers for
  };
  std::vector<Offer> offers;
  with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    constexpr std::size_t kReserved = 1 << 10;  // of each block, by the driver
    for (int warps = kMostWarps / 2; warps <= kMostWarps; ++warps) {
      const int rows = warps * Tile::kRows, places = Tile::kBlocks * kMostWarps;
      const auto bytes = static_cast<std::size_t>(Tile::shared_bytes(rows));
      if (bytes > limit) continue;
      offers.push_back({.config = {warps},
                        .alone = 2 * (bytes + kReserved) > limit + kReserved,
                        .e_rows = divide_up(p.depthwise.p, Index{rows}) * Tile::halo_rows(rows),
                        .together = places / warps * warps});
    }
  });
  if (offers.empty()) return {};
  // Many warps in small blocks wait less for each other, as long as their rims cost little.
  const Index fewest = std::ranges::min(offers, {}, &Offer::e_rows).e_rows;
  std::ranges::stable_sort(offers, {}, [&](const Offer& offer) {
    const bool close = 10 * offer.e_rows <= 11 * fewest;
    return std::tuple(offer.alone, !close, close ? Index{-offer.together} : offer.e_rows);
  });
  std::vector<InvertedResidualConfig> configs;
  for (const Offer& offer : offers) configs.push_back(offer.config);
  with_tile(p, [&](auto tile) {
    if constexpr (!decltype(tile)::kPixels) add_shared_tiles<decltype(tile)>(p, limit, configs);
  });
  return configs;
}

bool inverted_residual_pays(const InvertedResidualProblem& p) {
  const std::vector<InvertedResidualConfig> configs = inverted_residual_configs(p);
  if (configs.empty() || p.in > kMostByRule || p.out > kMostByRule) return false;
  Index count = 0;
  with_tile(p, [&](auto tile) { count = tiles<decltype(tile)>(p, configs[0].warps); });
  return count >= kBlocksToFill;
}

Index inverted_residual_weight_bytes(const InvertedResidualProblem& p) {
  Index bytes = 0;
  const bool found = with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    bytes =
        chunks<Tile>(p) * Tile::kWeights * Index{sizeof(Half)} + Tile::kOut * Index{sizeof(float)};
  });
  if (!found) no_kernel();
  return bytes;
}

template <class T>
void pack_inverted_residual_weights(const InvertedResidualProblem& p,
                                    const InvertedResidualWeights<T>& weights, void* packed) {
  std::memset(packed, 0, at(inverted_residual_weight_bytes(p)));
  with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    T* to = static_cast<T*>(packed);
    for (Index i = 0; i < chunks<Tile>(p); ++i, to += Tile::kWeights)
      pack_chunk<Tile, T>(p, weights, i * Tile::kChunk, {to});
    std::ranges::copy(weights.project_bias, reinterpret_cast<float*>(to));
  });
}

#define DF_INSTANTIATE(T)                                                      \
  template void pack_inverted_residual_weights(const InvertedResidualProblem&, \
                                               const InvertedResidualWeights<T>&, void*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
