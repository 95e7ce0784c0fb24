#include "engine/plan/memory_planner.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace dfengine {
namespace {

struct Placed {
  Index begin, end;
  int first, last;
};

// The start of the smallest gap that holds `bytes` between the blocks alive with it (sorted by
// begin).
Index best_gap(const std::vector<Placed>& placed, const Lifetime& life, Index bytes) {
  Index cursor = 0;
  Index best = -1;
  Index best_size = std::numeric_limits<Index>::max();
  for (const Placed& block : placed) {
    if (block.last < life.first || block.first > life.last) continue;
    const Index gap = block.begin - cursor;
    if (gap >= bytes && gap < best_size) {
      best = cursor;
      best_size = gap;
    }
    cursor = std::max(cursor, block.end);
  }
  return best >= 0 ? best : cursor;
}

}  // namespace

Placement plan_memory(std::span<const Lifetime> lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lifetimes[a].bytes > lifetimes[b].bytes;
  });
  Placement result;
  result.offsets.assign(lifetimes.size(), 0);
  std::vector<Placed> placed;
  for (std::size_t i : order) {
    const Lifetime& life = lifetimes[i];
    if (life.bytes == 0) continue;
    const Index bytes = round_up(life.bytes, kArenaAlignment);
    const Index begin = best_gap(placed, life, bytes);
    const Placed block{begin, begin + bytes, life.first, life.last};
    const auto at =
        std::upper_bound(placed.begin(), placed.end(), block,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; });
    placed.insert(at, block);
    result.offsets[i] = begin;
    result.total = std::max(result.total, block.end);
  }
  return result;
}

}  // namespace dfengine
