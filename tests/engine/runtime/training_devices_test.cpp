// What a training step may do beside Adam: gradients of several batches, clipping, a moving
// average, rates of their own.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

class TrainingDevices : public OnBackend {};
DF_ON_EVERY_BACKEND(TrainingDevices);

std::unique_ptr<SmallRun> run_with(DeviceKind kind,
                                   const std::function<void(TrainingOptions&)>& change) {
  return std::make_unique<SmallRun>(float_backend(kind), everything(), 0.0, change);
}

std::vector<float> values_of(SmallRun& run) {
  run.state();
  const std::span<const float> values = run.store().floats();
  return {values.begin(), values.end()};
}

// Two halves that are the same have the mean that each of them is.
TEST_P(TrainingDevices, TwoBatchesMakeOneUpdateWithTheirMean) {
  const SmallBatch batch;
  const auto once = run_with(GetParam(), {});
  once->step(batch);
  const auto twice = run_with(GetParam(), [](TrainingOptions& o) { o.gathers = true; });
  Training& training = twice->training();
  for (const StepEnd end : {StepEnd::Wait, StepEnd::Update})
    training.step(batch.images.data(), batch.targets.data(), batch.n(), twice->input(), end);
  EXPECT_EQ(training.waiting(), 0);
  const SmallRun::State one = once->state(), two = twice->state();
  EXPECT_EQ(one.moments.first, two.moments.first);
  EXPECT_EQ(two.scaler.step, 1u);
  for (int i = 0; i < std::ssize(once->store().specs()); ++i) {
    const ParamSpec& p = once->store().specs()[at(i)];
    if (is_learned(p.role))
      EXPECT_EQ(twice->store().get(i), once->store().get(i)) << p.name;
    else  // both batches move the running statistics
      EXPECT_NE(twice->store().get(i), once->store().get(i)) << p.name;
  }
}

TEST_P(TrainingDevices, DifferentBatchesAreAddedUp) {
  const SmallBatch a(kImages, 1), b(kImages, 2);
  std::vector<Moments> alone;
  for (const SmallBatch* batch : {&a, &b}) {
    const auto run = run_with(GetParam(), {});
    run->step(*batch);
    alone.push_back(run->state().moments);
  }
  const auto both = run_with(GetParam(), [](TrainingOptions& o) { o.gathers = true; });
  Training& training = both->training();
  training.step(a.images.data(), a.targets.data(), a.n(), both->input(), StepEnd::Wait);
  EXPECT_EQ(training.waiting(), 1);
  training.step(b.images.data(), b.targets.data(), b.n(), both->input(), StepEnd::Update);
  const Moments got = both->state().moments;
  double most = 0;
  for (const Moments& m : alone)
    for (float v : m.first) most = std::max(most, std::abs(double{v}));
  for (std::size_t i = 0; i < got.first.size(); ++i)
    ASSERT_NEAR(got.first[i], (double{alone[0].first[i]} + double{alone[1].first[i]}) / 2,
                tolerance<float>(4, most));
}

TEST_P(TrainingDevices, WhatWaitsCanBeForgotten) {
  const SmallBatch batch, other(kImages, 5);
  const auto clean = run_with(GetParam(), [](TrainingOptions& o) { o.gathers = true; });
  clean->step(batch);
  const auto run = run_with(GetParam(), [](TrainingOptions& o) { o.gathers = true; });
  Training& training = run->training();
  training.step(other.images.data(), other.targets.data(), other.n(), run->input(), StepEnd::Wait);
  training.forget_waiting();
  run->step(batch);
  EXPECT_EQ(run->state().moments.first, clean->state().moments.first);
}

// The first moment after one step is a tenth of the gradient.
TEST_P(TrainingDevices, GradientsAreClippedByTheirCommonNorm) {
  const SmallBatch batch;
  const auto plain = run_with(GetParam(), {});
  plain->step(batch);
  const Moments whole = plain->state().moments;
  double squares = 0;
  for (float m : whole.first) squares += 100 * double{m} * double{m};
  const double norm = std::sqrt(squares), most = norm / 3;
  const auto clipped = run_with(GetParam(), [&](TrainingOptions& o) { o.clip_grad = most; });
  clipped->step(batch);
  const Moments part = clipped->state().moments;
  const auto n = static_cast<double>(part.first.size());
  for (std::size_t i = 0; i < part.first.size(); ++i)
    ASSERT_NEAR(part.first[i], double{whole.first[i]} * most / (norm + 1e-6),
                tolerance<float>(n, std::abs(double{whole.first[i]})));
  const auto wide = run_with(GetParam(), [&](TrainingOptions& o) { o.clip_grad = 2 * norm; });
  wide->step(batch);
  EXPECT_EQ(wide->state().moments.first, whole.first);
}

TEST_P(TrainingDevices, TheAverageFollowsTheValues) {
  const auto run = run_with(GetParam(), [](TrainingOptions& o) { o.averages = true; });
  std::vector<float> start = values_of(*run);
  run->training().upload_average(start);
  std::vector<double> want(start.begin(), start.end());
  const SmallBatch batch;
  constexpr int kSteps = 3;
  for (int i = 0; i < kSteps; ++i) {
    StepInput input = run->input();
    input.average_decay = 0.75;
    run->training().step(batch.images.data(), batch.targets.data(), batch.n(), input);
    const std::vector<float> now = values_of(*run);
    for (std::size_t k = 0; k < now.size(); ++k) want[k] = 0.75 * want[k] + 0.25 * double{now[k]};
  }
  std::vector<float> got = start;
  run->training().download_average(got);
  for (int i = 0; i < std::ssize(run->store().specs()); ++i) {
    const Index first = run->store().offset(i), count = run->store().specs()[at(i)].count();
    for (Index k = first; k < first + count; ++k)
      ASSERT_NEAR(got[at(k)], want[at(k)], tolerance<float>(3 * kSteps, 1 + std::abs(want[at(k)])))
          << run->store().specs()[at(i)].name;
  }
}

// Adam's first step is the rate times the sign of the gradient, so that half the rate goes half as
// far.
TEST_P(TrainingDevices, ParametersHaveRatesOfTheirOwn) {
  const SmallBatch batch;
  const auto rate = [](const ParamSpec& p) { return p.name.starts_with("head") ? 1.0 : 0.5; };
  const auto whole = run_with(GetParam(), {}),
             slow = run_with(GetParam(), [&](TrainingOptions&o) { o.rate = rate; });
  const std::vector<float> start = values_of(*whole);
  whole->step(batch);
  slow->step(batch);
  const std::vector<float> far = values_of(*whole), near = values_of(*slow);
  for (int i = 0; i < std::ssize(whole->store().specs()); ++i) {
    const ParamSpec& p = whole->store().specs()[at(i)];
    const Index first = whole->store().offset(i);
    for (Index k = first; k < first + p.count(); ++k) {
      const double moved = double{far[at(k)]} - double{start[at(k)]};
      const double part = is_learned(p.role) ? rate(p) : 1;
      ASSERT_NEAR(double{near[at(k)]} - double{start[at(k)]}, part * moved,
                  tolerance<float>(3, 1 + std::abs(double{start[at(k)]})))
          << p.name;
    }
  }
}

}  // namespace
}  // namespace dfengine::test
