// Philox against its published known answer, and the walker's distributions.
#include "kernels/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

// Random123's kat_vectors: philox4x32, 10 rounds.
TEST(Philox, KnownAnswers) {
  const std::array<std::uint32_t, 4> zeros = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
  EXPECT_EQ(philox(0, RandomStream{0}, 0, 0), zeros);
  const std::array<std::uint32_t, 4> ones = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
  EXPECT_EQ(philox(~0ull, RandomStream{~0u}, ~0ull, ~0u), ones);
}

TEST(Philox, EveryInputChangesTheOutput) {
  const auto base = philox(1, RandomStream::Init, 2, 3);
  EXPECT_NE(philox(2, RandomStream::Init, 2, 3), base);
  EXPECT_NE(philox(1 + (1ull << 32), RandomStream::Init, 2, 3), base);
  EXPECT_NE(philox(1, RandomStream::Flip, 2, 3), base);
  EXPECT_NE(philox(1, RandomStream::Init, 2 + (1ull << 32), 3), base);
  EXPECT_NE(philox(1, RandomStream::Init, 2, 4), base);
}

TEST(Random, WalksTheBlocksInOrder) {
  Random random(5, RandomStream::Shuffle, 6);
  for (std::uint32_t counter = 0; counter < 3; ++counter) {
    for (std::uint32_t word : philox(5, RandomStream::Shuffle, 6, counter))
      EXPECT_EQ(random.bits(), word);
  }
}

TEST(Random, UniformStaysInItsInterval) {
  Random random(1, RandomStream::Init, 0);
  for (int i = 0; i < 10000; ++i) {
    const double u = random.uniform(-2, 3);
    ASSERT_GE(u, -2);
    ASSERT_LT(u, 3);
  }
}

// Each of `bound` values is binomial: its count strays from the mean by few standard deviations.
TEST(Random, BelowIsUniform) {
  for (std::uint32_t bound : {1u, 2u, 3u, 7u, 10u}) {
    Random random(7, RandomStream::Shuffle, bound);
    constexpr int kDraws = 60000;
    std::vector<int> counts(bound, 0);
    for (int i = 0; i < kDraws; ++i) {
      const std::uint32_t x = random.below(bound);
      ASSERT_LT(x, bound);
      ++counts[x];
    }
    const double share = 1.0 / bound;
    for (int count : counts)
      EXPECT_NEAR(count, kDraws * share,
                  test::sampling_tolerance(kDraws, share * (1 - share)) * kDraws);
  }
}

// With a bound of 3 * 2^30 a plain remainder would give the lowest third half of all draws.
TEST(Random, BelowHasNoBiasForLargeBounds) {
  constexpr std::uint32_t kThird = 1u << 30;
  Random random(8, RandomStream::Shuffle, 0);
  constexpr int kDraws = 30000;
  int low = 0;
  for (int i = 0; i < kDraws; ++i) low += random.below(3 * kThird) < kThird;
  EXPECT_NEAR(low / double{kDraws}, 1.0 / 3, test::sampling_tolerance(kDraws, 2.0 / 9));
}

TEST(Random, NormalMoments) {
  Random random(9, RandomStream::Init, 0);
  constexpr int kDraws = 100000;
  double moments[5] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double z = random.normal();
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(z, k) / kDraws;
  }
  // E z^k is 0, 1, 0, 3; the variance of z^k is E z^2k - (E z^k)^2.
  EXPECT_NEAR(moments[1], 0, test::sampling_tolerance(kDraws, 1));
  EXPECT_NEAR(moments[2], 1, test::sampling_tolerance(kDraws, 2));
  EXPECT_NEAR(moments[3], 0, test::sampling_tolerance(kDraws, 15));
  EXPECT_NEAR(moments[4], 3, test::sampling_tolerance(kDraws, 96));
}

}  // namespace
}  // namespace dfengine
