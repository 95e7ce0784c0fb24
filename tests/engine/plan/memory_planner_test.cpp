// The memory planner: random lifetimes for what must always hold, small cases for exact offsets.
#include "engine/plan/memory_planner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/base/random.h"

namespace dfengine {
namespace {

Index aligned(Index bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

// Up to 40 buffers over up to 30 steps; a third short-lived, some empty, some of one size.
std::vector<Lifetime> random_lifetimes(std::uint64_t seed) {
  Random random(seed, RandomStream::Synth, 0);
  std::vector<Lifetime> all(1 + random.below(40));
  const std::uint32_t steps = 1 + random.below(30);
  for (Lifetime& life : all) {
    const std::uint32_t kind = random.below(6);
    life.bytes = kind == 0 ? 0 : kind == 1 ? 256 : random.below(1000);
    life.first = static_cast<int>(random.below(steps));
    const std::uint32_t length = random.below(3) == 0 ? 0 : random.below(steps);
    life.last = life.first + static_cast<int>(length);
  }
  return all;
}

void expect_sound(const std::vector<Lifetime>& lives, const Placement& p) {
  ASSERT_EQ(p.offsets.size(), lives.size());
  Index sum = 0, peak = 0, end = 0;
  for (std::size_t i = 0; i < lives.size(); ++i) {
    const Lifetime& a = lives[i];
    ASSERT_EQ(p.offsets[i] % kArenaAlignment, 0);
    ASSERT_GE(p.offsets[i], 0);
    if (a.bytes == 0) {
      ASSERT_EQ(p.offsets[i], 0);
    }
    sum += aligned(a.bytes);
    end = std::max(end, p.offsets[i] + aligned(a.bytes));
    Index alive = 0;  // when buffer i begins: a peak is reached at some beginning
    for (std::size_t j = 0; j < lives.size(); ++j) {
      const Lifetime& b = lives[j];
      if (b.first <= a.first && a.first <= b.last) alive += aligned(b.bytes);
      const bool together = a.first <= b.last && b.first <= a.last;
      if (i == j || !together || a.bytes == 0 || b.bytes == 0) continue;
      const bool apart =
          p.offsets[i] + a.bytes <= p.offsets[j] || p.offsets[j] + b.bytes <= p.offsets[i];
      ASSERT_TRUE(apart) << "buffers " << i << " and " << j << " share bytes";
    }
    peak = std::max(peak, alive);
  }
  EXPECT_EQ(p.total, end);
  EXPECT_GE(p.total, peak);
  EXPECT_LE(p.total, sum);
}

TEST(MemoryPlanner, RandomLifetimesNeverShareBytes) {
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::vector<Lifetime> lives = random_lifetimes(seed);
    const Placement p = plan_memory(lives);
    expect_sound(lives, p);
    if (testing::Test::HasFatalFailure()) return;
    const Placement again = plan_memory(lives);
    ASSERT_EQ(again.offsets, p.offsets);
    ASSERT_EQ(again.total, p.total);
  }
}

TEST(MemoryPlanner, Nothing) {
  EXPECT_EQ(plan_memory({}).total, 0);
  EXPECT_EQ(plan_memory(std::vector<Lifetime>{{0, 0, 5}, {0, 2, 2}}).total, 0);
}

TEST(MemoryPlanner, AChainNeedsTwoBuffers) {
  // Each value lives until its reader has run: 0-1, 1-2, 2-3, 3-4.
  const std::vector<Lifetime> chain = {{100, 0, 1}, {100, 1, 2}, {100, 2, 3}, {100, 3, 4}};
  const Placement p = plan_memory(chain);
  EXPECT_EQ(p.offsets, (std::vector<Index>{0, 128, 0, 128}));
  EXPECT_EQ(p.total, 256);
}

TEST(MemoryPlanner, TouchingLifetimesDoNotShare) {
  EXPECT_EQ(plan_memory(std::vector<Lifetime>{{64, 0, 3}, {64, 3, 5}}).total, 128);
  EXPECT_EQ(plan_memory(std::vector<Lifetime>{{64, 0, 2}, {64, 3, 5}}).total, 64);
}

TEST(MemoryPlanner, TheSmallestGapThatHoldsIsTaken) {
  // In steps 0 and 1 the first four stand one behind the other; then 512 bytes at the start and
  // 256 bytes between the two long-lived ones fall free.
  const std::vector<Lifetime> lives = {{512, 0, 1}, {448, 0, 3}, {256, 0, 1},
                                       {192, 0, 3}, {128, 2, 3}, {64, 2, 3}};
  const Placement p = plan_memory(lives);
  EXPECT_EQ(p.offsets, (std::vector<Index>{0, 512, 960, 1216, 960, 1088}));
  EXPECT_EQ(p.total, 1408);
}

}  // namespace
}  // namespace dfengine
