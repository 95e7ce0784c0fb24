// Where parameters lie, what they start with, how files' order maps to memory's.
#include "engine/runtime/parameter_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

ParamSpec weight(const std::string& name, std::vector<Index> shape, Index fan) {
  return {.name = name, .file_shape = std::move(shape), .init = {.he_fan = fan}};
}

ParamSpec window(const std::string& name, std::vector<Index> shape) {
  ParamSpec p = weight(name, std::move(shape), 9);
  p.channels_last = true;
  return p;
}

ParamSpec vector(const std::string& name, Index count, Role role, double constant) {
  return {.name = name, .file_shape = {count}, .role = role, .init = {.constant = constant}};
}

std::vector<ParamSpec> mixed() {
  return {weight("a", {4, 3}, 4), vector("mean", 5, Role::RunningMean, 0),
          vector("scale", 5, Role::NormScale, 1), vector("var", 5, Role::RunningVar, 1),
          weight("b", {2, 2}, 2)};
}

TEST(ParameterStore, LearnedOnesStandFirstAndTogether) {
  const ParameterStore store(mixed(), Element::F32, 1);
  std::vector<std::string> names;
  for (const ParamSpec& p : store.specs()) names.push_back(p.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "scale", "b", "mean", "var"}));
  EXPECT_EQ(store.learned_count(), 12 + 5 + 4);
  EXPECT_EQ(store.total_count(), 12 + 5 + 4 + 10);
  EXPECT_EQ(store.bytes(), 4 * store.total_count());
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(store.find(names[i]), int(i));
  EXPECT_EQ(store.find("c"), -1);
  EXPECT_EQ(store.find(""), -1);
  EXPECT_EQ(store.offset(0), 0);
  EXPECT_EQ(store.offset(2), 17);
  EXPECT_EQ(store.offset(3), 21);
  const auto* base = static_cast<const std::byte*>(store.value(0));
  EXPECT_EQ(base, store.data());
  EXPECT_EQ(static_cast<const std::byte*>(store.value(3)) - base, 21 * 4);
}

TEST(ParameterStore, NothingToHold) {
  const ParameterStore store({}, Element::F32, 1);
  EXPECT_EQ(store.total_count(), 0);
  EXPECT_EQ(store.learned_count(), 0);
}

TEST(ParameterStore, OnlyRunningStatistics) {
  const ParameterStore store({vector("mean", 3, Role::RunningMean, 2)}, Element::F64, 1);
  EXPECT_EQ(store.learned_count(), 0);
  EXPECT_EQ(store.get(0), (std::vector<float>{2, 2, 2}));
}

TEST(ParameterStore, InitialValuesFollowSeedAndPosition) {
  const auto values = [](std::vector<ParamSpec> specs, std::uint64_t seed, const char* name) {
    const ParameterStore store(std::move(specs), Element::F32, seed);
    return store.get(store.find(name));
  };
  EXPECT_EQ(values(mixed(), 1, "b"), values(mixed(), 1, "b"));
  EXPECT_NE(values(mixed(), 1, "b"), values(mixed(), 2, "b"));
  EXPECT_EQ(values(mixed(), 1, "scale"), std::vector<float>(5, 1.0f));
  EXPECT_EQ(values(mixed(), 1, "mean"), std::vector<float>(5, 0.0f));
  // Position in the network, not in memory: what stands behind a running mean draws the same
  // whatever that one's role.
  std::vector<ParamSpec> learned = mixed();
  learned[1].role = Role::Bias;
  EXPECT_EQ(values(mixed(), 1, "b"), values(learned, 1, "b"));
  std::vector<ParamSpec> twins = {weight("a", {9}, 1), weight("b", {9}, 1)};
  EXPECT_NE(values(twins, 1, "a"), values(twins, 1, "b"));
}

TEST(ParameterStore, HeVariance) {
  constexpr Index kCount = 40000, kFan = 50;
  const ParameterStore store({weight("w", {kCount}, kFan)}, Element::F64, 3);
  const auto* w = static_cast<const double*>(store.value(0));
  const double n = kCount, variance = 2.0 / kFan;
  const double mean = std::accumulate(w, w + kCount, 0.0) / n;
  const double square = std::inner_product(w, w + kCount, w, 0.0) / n;
  EXPECT_NEAR(mean, 0, test::sampling_tolerance(n, variance));
  // A normal's square has the variance 2 sigma^4.
  EXPECT_NEAR(square, variance, test::sampling_tolerance(n, 2 * variance * variance));
}

// Torch's index arithmetic, written out.
TEST(ParameterStore, MemoryPositions) {
  const ParamSpec depthwise = window("d", {5, 1, 3, 3});
  const ParamSpec stem = window("s", {4, 3, 3, 3});
  for (Index c = 0; c < 5; ++c)
    for (Index r = 0; r < 3; ++r)
      for (Index s = 0; s < 3; ++s)
        EXPECT_EQ(depthwise.memory_position((c * 3 + r) * 3 + s), (r * 3 + s) * 5 + c);
  for (Index k = 0; k < 4; ++k)
    for (Index c = 0; c < 3; ++c)
      for (Index r = 0; r < 3; ++r)
        for (Index s = 0; s < 3; ++s)
          EXPECT_EQ(stem.memory_position(((k * 3 + c) * 3 + r) * 3 + s),
                    ((r * 3 + s) * 3 + c) * 4 + k);
}

TEST(ParameterStore, SetAndGetKeepTheFilesOrder) {
  for (Element element : {Element::F32, Element::F64}) {
    ParameterStore store(
        {window("d", {5, 1, 3, 3}), window("s", {4, 3, 3, 3}), weight("p", {7, 2, 1, 1}, 7)},
        element, 1);
    for (int i = 0; i < 3; ++i) {
      const Index n = store.specs()[at(i)].count();
      std::vector<float> values(at(n));
      std::iota(values.begin(), values.end(), 1.0f);
      store.set(i, std::span<const float>(values));
      EXPECT_EQ(store.get(i), values);
      const std::vector<double> doubles = test::random_uniform<double>(n, 4);
      store.set(i, std::span<const double>(doubles));
      EXPECT_EQ(store.get(i), test::converted<float>(doubles));
    }
  }
}

TEST(ParameterStore, WrongNumbersOfValues) {
  ParameterStore store(mixed(), Element::F32, 1);
  const std::vector<float> values(13);
  for (std::size_t n : {0, 11, 13})
    EXPECT_THROW(store.set(0, std::span<const float>(values.data(), n)), ShapeError);
  try {
    store.set(0, std::span<const float>(values));
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("parameter a"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace dfengine
