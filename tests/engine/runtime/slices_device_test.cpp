// Training in slices on a device: in one process near the oracle, captured or not, and in the
// stand-in on any number of ranks the same bits.
#include <gtest/gtest.h>

#include "tests/engine/runtime/device_support.h"
#include "tests/support/thread_ranks.h"

namespace dfengine::test {
namespace {

constexpr Index kSlices = 4;

// What a rank of a sliced run holds after some steps.
struct RankResult {
  SmallRun::State state;
  std::vector<double> losses;
  bool operator==(const RankResult&) const = default;
};

void step_in_slices(SmallRun& run, const SmallBatch& batch, const Cut& cut, StepEnd end) {
  std::vector<Slice> slices;
  for (Index i = cut.first; i < cut.first + cut.count; ++i) {
    const Index first = slice_begin(batch.n(), cut.slices, i);
    slices.push_back({first, slice_begin(batch.n(), cut.slices, i + 1) - first});
  }
  const Index first = slices.front().first;
  run.training().step(batch.images.data() + first * kImage.bytes(), batch.targets.data() + first,
                      slices, batch.n(), run.input(), end);
}

RankResult train_rank(const DeviceConfig& config, const Cut& cut, int steps,
                      bool grad_checkpoint = false) {
  SmallRun run(config, everything(), 0.2, [&](TrainingOptions& o) {
    o.rest = kImages - 1;
    o.gathers = true;
    o.cut = cut;
    o.grad_checkpoint = grad_checkpoint;
  });
  RankResult result;
  for (int i = 0; i < steps; ++i) {
    // Some have fewer pictures than there are slices.
    const SmallBatch batch(i % 2 == 1 ? kImages - 1 : kImages, static_cast<std::uint64_t>(i));
    step_in_slices(run, batch, cut, i == 0 ? StepEnd::Wait : StepEnd::Update);
    const StepSums sums = run.training().collect();
    EXPECT_EQ(sums.n, batch.n());
    result.losses.push_back(sums.loss);
  }
  result.state = run.state();
  return result;
}

// By rank.
std::vector<RankResult> train_ranks(int ranks, const DeviceConfig& config, bool fast, int steps,
                                    Index slices = kSlices) {
  std::vector<RankResult> results(at(ranks));
  ThreadRanks::run(ranks, [&](Communicator& communicator) {
    Cut cut = Cut::of(fast ? ranks : slices, communicator);
    cut.fast = fast;
    results[at(communicator.rank())] = train_rank(config, cut, steps);
  });
  return results;
}

// Adam's first moment after one step is a tenth of the gradient.
std::map<std::string, Doubles> gradients_of(SmallRun& run, const StepResult& exact) {
  const Moments moments = run.state().moments;
  std::map<std::string, Doubles> gradients;
  for (int i = 0; i < std::ssize(run.store().specs()); ++i) {
    const ParamSpec& p = run.store().specs()[at(i)];
    if (!exact.gradients.contains(p.name)) continue;
    for (Index k = 0; k < p.count(); ++k)
      gradients[p.name].push_back(10 * double{moments.first[at(run.store().offset(i) + k)]});
  }
  return gradients;
}

template <class T>
void check_step(Precision precision, const Trainable& trainable) {
  SCOPED_TRACE(name_of(precision));
  const SmallBatch batch;
  const StepResult exact = StepResult::oracle(batch, trainable);
  const Condition allowed = Condition::of<T>(exact, batch, trainable);
  Communicator alone;
  const Cut cut = Cut::of(kSlices, alone);
  SmallRun run(deterministic(precision), trainable, 0.0, [&](TrainingOptions& o) { o.cut = cut; });
  step_in_slices(run, batch, cut, StepEnd::Update);
  EXPECT_NEAR(run.training().collect().loss / static_cast<double>(batch.n()), exact.loss,
              allowed.loss());
  expect_gradients<T>(gradients_of(run, exact), exact, allowed);
}

TEST(SlicesDevice, StepEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  check_step<float>(Precision::Fp32, everything());
  check_step<Half>(Precision::Fp16, everything());
  check_step<BFloat16>(Precision::Bf16, from_block(17));
}

// Each kind of update comes twice: the second time a captured one is replayed.
constexpr int kTwiceEach = 5;

TEST(SlicesDevice, ACapturedStepEqualsAnEagerOne) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const auto captured = train_ranks(1, deterministic(Precision::Fp16), false, kTwiceEach);
  const auto eager = train_ranks(1, deterministic(Precision::Fp16, false), false, kTwiceEach);
  EXPECT_TRUE(captured == eager);
}

TEST(SlicesDevice, WhatIsMadeAgainHasTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  Communicator alone;
  const auto train = [&](bool grad_checkpoint) {
    return train_rank(deterministic(Precision::Fp16), Cut::of(kSlices, alone), 2, grad_checkpoint);
  };
  EXPECT_TRUE(train(true) == train(false));
}

// Ranks are threads: on a GPU each would need one of its own.
#define DF_NEEDS_STAND_IN() \
  if (!cuda::is_emulated()) GTEST_SKIP() << "ranks are threads in the stand-in alone"

// Alone and on so many ranks, some of which may have no picture.
void expect_same_on(const std::vector<int>& ranks, Precision precision, Index slices) {
  SCOPED_TRACE(name_of(precision));
  const auto on = [&](int n) { return train_ranks(n, deterministic(precision), false, 2, slices); };
  const RankResult alone = on(1).front();
  for (const int n : ranks)
    for (const RankResult& rank : on(n)) EXPECT_TRUE(rank == alone) << n << " ranks";
}

TEST(SlicesOnRanks, AnyNumberGivesTheSameBits) {
  DF_NEEDS_STAND_IN();
  DF_SLOW_UNDER_SANITIZERS();
  expect_same_on({2, 4}, Precision::Fp16, kSlices);
  expect_same_on({4}, Precision::Fp32, kSlices);
  expect_same_on({8}, Precision::Fp16, 2 * kSlices);
}

TEST(SlicesOnRanks, CapturedStepsMeetOthersThatAreNot) {
  DF_NEEDS_STAND_IN();
  DF_SLOW_UNDER_SANITIZERS();
  std::vector<RankResult> results(2);
  ThreadRanks::run(2, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    results[at(rank)] = train_rank(deterministic(Precision::Fp16, rank == 0),
                                   Cut::of(kSlices, communicator), kTwiceEach);
  });
  EXPECT_TRUE(results[0] == results[1]);
}

// Sums of ranks come in another order, but the same on all.
TEST(SlicesOnRanks, FastReduceGivesAllRanksTheSame) {
  DF_NEEDS_STAND_IN();
  DF_SLOW_UNDER_SANITIZERS();
  const auto fast = train_ranks(4, deterministic(Precision::Fp16), true, 2);
  for (const RankResult& rank : fast) EXPECT_TRUE(rank == fast.front());
  const RankResult tree = train_ranks(4, deterministic(Precision::Fp16), false, 2).front();
  EXPECT_FALSE(tree.state == fast.front().state) << "a sum in another order should show";
  EXPECT_NEAR(fast.front().losses[0], tree.losses[0],
              network_tolerance<float>(54, 1280, std::abs(tree.losses[0])));
}

}  // namespace
}  // namespace dfengine::test
