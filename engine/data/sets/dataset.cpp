#include "engine/data/sets/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine {
Index Dataset::count(int label) const {
  return std::count_if(samples.begin(), samples.end(),
                       [label](const Sample& s) { return s.label == label; });
}

std::vector<std::uint32_t> epoch_order(Index n, std::uint64_t seed, std::uint64_t epoch,
                                       bool shuffle) {
  if (n < 0 || n > std::numeric_limits<std::uint32_t>::max()) {
    throw UsageError(fmt::format("cannot order {} samples", n));
  }
  std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0u);
  if (!shuffle) return order;
  Random random(seed, RandomStream::Shuffle, epoch);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  }
  return order;
}

std::vector<std::uint32_t> epoch_order(const Dataset& dataset, std::uint64_t seed,
                                       std::uint64_t epoch, bool shuffle) {
  const Index n = std::ssize(dataset.samples);
  std::vector<std::uint32_t> order = epoch_order(n, seed, epoch, false);
  if (!shuffle || !dataset.tars) return epoch_order(n, seed, epoch, shuffle);
  Random random(seed, RandomStream::Shuffle, epoch);
  std::vector<std::size_t> place(dataset.tars->files().size());
  std::iota(place.begin(), place.end(), std::size_t{0});
  for (std::size_t i = place.size(); i > 1; --i)
    std::swap(place[i - 1], place[random.below(static_cast<std::uint32_t>(i))]);
  const auto place_of = [&](std::uint32_t i) {
    return place[TarShards::file_number(dataset.samples[i].record)];
  };
  std::ranges::stable_sort(order, {}, place_of);
  // Each picture leaves a full buffer at random, for the next one of the tars to take its place.
  std::vector<std::uint32_t> buffer, shuffled;
  for (const std::uint32_t next : order) {
    if (buffer.size() < kShuffleBuffer) {
      buffer.push_back(next);
      continue;
    }
    std::uint32_t& any = buffer[random.below(static_cast<std::uint32_t>(buffer.size()))];
    shuffled.push_back(std::exchange(any, next));
  }
  for (std::size_t i = buffer.size(); i > 1; --i)
    std::swap(buffer[i - 1], buffer[random.below(static_cast<std::uint32_t>(i))]);
  shuffled.insert(shuffled.end(), buffer.begin(), buffer.end());
  return shuffled;
}

bool flip_sample(std::uint64_t seed, std::uint64_t epoch, std::uint32_t index) {
  return (philox(seed, RandomStream::Flip, epoch, index)[0] & 1u) != 0;
}

}  // namespace dfengine
