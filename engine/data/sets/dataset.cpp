#include "engine/data/sets/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

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

bool flip_sample(std::uint64_t seed, std::uint64_t epoch, std::uint32_t index) {
  return (philox(seed, RandomStream::Flip, epoch, index)[0] & 1u) != 0;
}

}  // namespace dfengine
