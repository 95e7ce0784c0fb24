// The optimiser against Adam's and AdamW's formulas written out in double, parameter by parameter.
#include "engine/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr double kLr = 0.01, kDecay = 0.1;
constexpr int kSteps = 5;

ParamSpec spec(const char* name, Role role, Index n) {
  ParamSpec p;
  p.name = name;
  p.file_shape = {n};
  p.role = role;
  p.init.constant = 0.5;
  return p;
}

// One parameter of each role, of lengths that end inside a vector register, and one that rests.
std::vector<ParamSpec> all_roles() {
  return {spec("conv.weight", Role::Weight, 19), spec("norm.weight", Role::NormScale, 5),
          spec("norm.bias", Role::NormShift, 5), spec("norm.mean", Role::RunningMean, 5),
          spec("norm.var", Role::RunningVar, 5), spec("resting.weight", Role::Weight, 7),
          spec("head.weight", Role::Weight, 11), spec("head.bias", Role::Bias, 3)};
}

std::vector<ParamSpec> trained(const ParameterStore& store) {
  std::vector<ParamSpec> result;
  for (const ParamSpec& p : store.specs())
    if (is_learned(p.role) && p.name != "resting.weight") result.push_back(p);
  return result;
}

double gradient(int step, Index i) {
  return std::sin(1.0 + 0.7 * static_cast<double>(i) + 0.3 * step);
}

// One element through kSteps of the formulas in kernels/adam.h.
struct Element64 {
  double w = 0.5, m = 0, v = 0;

  void update(OptimizerKind kind, double decay, double g, int t) {
    if (kind == OptimizerKind::AdamW) {
      w -= kLr * decay * w;
    } else {
      g += decay * w;
    }
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double mean = m / (1 - std::pow(0.9, t)), square = v / (1 - std::pow(0.999, t));
    w -= kLr * mean / (std::sqrt(square) + 1e-8);
  }
};

template <class T>
class OptimizerTest : public testing::Test {
 public:
  static constexpr Element kElement = std::is_same_v<T, double> ? Element::F64 : Element::F32;
  ParameterStore store{all_roles(), kElement, 0};
  ThreadPool pool{2};

  T value(Index i) const { return reinterpret_cast<const T*>(store.data())[i]; }

  void run(Optimizer& optimizer) {
    T* g = reinterpret_cast<T*>(optimizer.gradients());
    for (int step = 0; step < kSteps; ++step) {
      for (Index i = 0; i < store.learned_count(); ++i) g[i] = static_cast<T>(gradient(step, i));
      optimizer.update({pool}, kLr);
    }
  }

  // Every learned element against the formulas.
  void expect_formulas(OptimizerKind kind) {
    Optimizer optimizer(store, trained(store), kind, kDecay);
    run(optimizer);
    for (std::size_t p = 0; p < store.specs().size(); ++p) {
      const ParamSpec& s = store.specs()[p];
      if (!is_learned(s.role) || s.name == "resting.weight") continue;
      const double decay = s.role == Role::Weight ? kDecay : 0.0;
      for (Index k = 0; k < s.count(); ++k) {
        const Index i = store.offset(static_cast<int>(p)) + k;
        Element64 expected;
        for (int t = 1; t <= kSteps; ++t) {
          expected.update(kind, decay, static_cast<double>(static_cast<T>(gradient(t - 1, i))), t);
        }
        // Ten roundings a step of values no greater than one.
        EXPECT_NEAR(static_cast<double>(value(i)), expected.w, test::tolerance<T>(10 * kSteps, 1))
            << s.name << "[" << k << "]";
      }
    }
  }
};

using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(OptimizerTest, Types);

TYPED_TEST(OptimizerTest, AdamAddsTheDecayOfWeightsToTheGradient) {
  this->expect_formulas(OptimizerKind::Adam);
}

TYPED_TEST(OptimizerTest, AdamWShrinksTheWeightsThemselves) {
  this->expect_formulas(OptimizerKind::AdamW);
}

TYPED_TEST(OptimizerTest, WhatIsNotTrainedKeepsItsBitsAndHasNoMoments) {
  Optimizer optimizer(this->store, trained(this->store), OptimizerKind::AdamW, kDecay);
  this->run(optimizer);
  const auto* m = reinterpret_cast<const TypeParam*>(optimizer.first_moment());
  const auto* v = reinterpret_cast<const TypeParam*>(optimizer.second_moment());
  for (std::size_t p = 0; p < this->store.specs().size(); ++p) {
    const ParamSpec& s = this->store.specs()[p];
    const bool rests = !is_learned(s.role) || s.name == "resting.weight";
    for (Index k = 0; k < s.count(); ++k) {
      const Index i = this->store.offset(static_cast<int>(p)) + k;
      EXPECT_EQ(this->value(i) == TypeParam{0.5}, rests) << s.name;
      if (!is_learned(s.role)) continue;
      EXPECT_EQ(m[i] == 0, rests) << s.name;
      EXPECT_EQ(v[i] == 0, rests) << s.name;
    }
  }
}

TEST(Optimizer, CountsItsStepsAndGoesOnFromThem) {
  ParameterStore whole({spec("w", Role::Weight, 5)}, Element::F32, 0),
      parts = ParameterStore({spec("w", Role::Weight, 5)}, Element::F32, 0);
  ThreadPool pool(1);
  const auto fill = [](Optimizer& o, int step) {
    for (Index i = 0; i < 5; ++i)
      reinterpret_cast<float*>(o.gradients())[i] = static_cast<float>(gradient(step, i));
  };
  Optimizer uninterrupted(whole, whole.specs(), OptimizerKind::Adam, 0);
  for (int step = 0; step < 4; ++step) {
    fill(uninterrupted, step);
    uninterrupted.update({pool}, kLr);
  }
  EXPECT_EQ(uninterrupted.steps(), 4);
  Optimizer first(parts, parts.specs(), OptimizerKind::Adam, 0);
  for (int step = 0; step < 2; ++step) {
    fill(first, step);
    first.update({pool}, kLr);
  }
  Optimizer second(parts, parts.specs(), OptimizerKind::Adam, 0);
  std::memcpy(second.first_moment(), first.first_moment(), 5 * sizeof(float));
  std::memcpy(second.second_moment(), first.second_moment(), 5 * sizeof(float));
  second.set_steps(first.steps());
  for (int step = 2; step < 4; ++step) {
    fill(second, step);
    second.update({pool}, kLr);
  }
  EXPECT_EQ(whole.get(0), parts.get(0));
}

TEST(Optimizer, BytesAreThoseOfGradientsAndMomentsOfTheTrained) {
  ParameterStore store(all_roles(), Element::F32, 0);
  const Optimizer optimizer(store, trained(store), OptimizerKind::Adam, 0);
  EXPECT_EQ(optimizer.touched_bytes(), 3 * 4 * (19 + 5 + 5 + 11 + 3));
}

}  // namespace
}  // namespace dfengine
