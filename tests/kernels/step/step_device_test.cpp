// What only a training step on the device does beside the layers: overflow check, Adam over a whole
// block, loss scale, record, cast.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/adam.h"
#include "kernels/bce_loss.h"
#include "kernels/step.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using cuda::AdamChunk;
using Scalars = std::vector<StepScalars>;

TEST(LossScale, FollowsTheTable) {
  StepScalars s{.loss_scale = 8.0f, .growth_interval = 2};
  struct Row {
    bool overflow;
    float scale;
    std::uint64_t step, skipped;
  };
  const Row rows[] = {{false, 8, 1, 0}, {false, 16, 2, 0}, {false, 16, 3, 0}, {true, 8, 3, 1},
                      {true, 4, 3, 2},  {false, 4, 4, 2},  {false, 8, 5, 2}};
  std::uint64_t tried = 0;
  for (const Row& row : rows) {
    s.overflow = row.overflow;
    s = next_scalars(s);
    EXPECT_EQ(s.loss_scale, row.scale);
    EXPECT_EQ(s.step, row.step);
    EXPECT_EQ(s.skipped, row.skipped);
    EXPECT_EQ(s.position, ++tried);
    EXPECT_EQ(s.overflow, 0u);
  }
}

TEST(LossScale, StaysWithinItsBoundsAndWhereItIsOff) {
  StepScalars low{.loss_scale = 1.0f, .overflow = 1, .growth_interval = 2};
  EXPECT_EQ(next_scalars(low).loss_scale, 1.0f);
  StepScalars high{.loss_scale = kLargestLossScale, .good_steps = 1, .growth_interval = 2};
  EXPECT_EQ(next_scalars(high).loss_scale, kLargestLossScale);
  StepScalars off{.loss_scale = 1.0f};
  EXPECT_EQ(next_scalars(off).loss_scale, 1.0f);
}

TEST(CheckFinite, FindsOneBadValueAnywhere) {
  DF_NEEDS_DEVICE();
  for (Index at : {-1, 0, 4095, 4096, 9000})
    for (double bad : {kNan, kInfinity, -kInfinity}) {
      auto values = random_uniform<double>(9001, 1);
      if (at >= 0) values[static_cast<std::size_t>(at)] = bad;
      DeviceArray<float> on(values);
      DeviceStructs<StepScalars> scalars(Scalars(1));
      cuda::check_finite(nullptr, 9001, on.data(), scalars.data());
      EXPECT_EQ(scalars.values()[0].overflow, at >= 0 ? 1u : 0u) << at << " " << bad;
    }
}

// Learned values, then running statistics.
struct AdamCase {
  static constexpr Index kLearned = 450, kCount = 500;
  std::vector<double> w, grad, next, m, v;
  std::vector<AdamChunk> chunks = {
      {0, 300, 0.01f, false}, {300, 100, 0.0f, false}, {450, 50, 0.0f, true}};
  StepInput input{.learning_rate = 0.002};
  StepScalars scalars{.step = 3, .position = 1, .loss_scale = 128.0f, .growth_interval = 2000};

  AdamCase()
      : w(random_uniform<double>(kCount, 1)),
        grad(random_uniform<double>(kLearned, 2)),
        next(random_uniform<double>(kCount - kLearned, 7)),
        m(random_uniform<double>(kLearned, 3, 0, 1)),
        v(random_uniform<double>(kLearned, 4, 0, 1)) {}
};

template <class T>
void check_adam(bool decoupled, bool overflow) {
  AdamCase d;
  d.scalars.overflow = overflow;
  DeviceArray<float> w(d.w), grad(d.grad), next(d.next), m(d.m), v(d.v);
  DeviceArray<T> working(AdamCase::kCount);
  DeviceStructs<AdamChunk> chunks(d.chunks);
  DeviceStructs<StepScalars> scalars(Scalars{d.scalars});
  DeviceStructs<StepInput> input(std::vector<StepInput>{d.input});
  AdamProblem p{.decoupled = decoupled};
  cuda::adam_update<T>(nullptr, p, scalars.data(), input.data(), chunks.data(), 3, grad.data(),
                       next.data(), AdamCase::kLearned, w.data(), m.data(), v.data(),
                       sizeof(T) < 4 ? working.data() : nullptr);
  cuda::finish_step(nullptr, scalars.data());

  std::vector<double> want = d.w;
  if (!overflow) {
    p.lr = d.input.learning_rate;
    p.step = 4;
    for (double& g : d.grad) g /= 128.0;
    ThreadPool pool(1);
    for (int i = 0; i < 2; ++i) {
      p.weight_decay = d.chunks[size_t(i)].weight_decay;
      const Index at = d.chunks[size_t(i)].offset;
      cpu::adam_update<double>({pool}, p, d.chunks[size_t(i)].count, d.grad.data() + at,
                               want.data() + at, d.m.data() + at, d.v.data() + at);
    }
    std::ranges::copy(d.next, want.begin() + AdamCase::kLearned);
  }
  expect_close<Device<float>>(w.values(), want, 8, Doubles(want.size(), 1.0), "w");
  const Doubles ones(d.m.size(), 1.0);
  expect_close<Device<float>>(m.values(), d.m, 8, ones, "m");
  expect_close<Device<float>>(v.values(), d.v, 8, ones, "v");
  const StepScalars after = scalars.values()[0];
  EXPECT_EQ(after.step, overflow ? 3u : 4u);
  EXPECT_EQ(after.loss_scale, overflow ? 64.0f : 128.0f);
  const auto copies = working.values();
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const bool moved = !overflow && sizeof(T) < 4 && (i < 400 || i >= 450);
    if (moved) {
      EXPECT_EQ(copies[i], value_of(stored<T>(w.values()[i])));
    } else {
      EXPECT_TRUE(std::isnan(copies[i])) << i;
    }
  }
}

TEST(AdamDevice, EqualsDoubleCommitsStatisticsAndSkipsOverflow) {
  DF_NEEDS_DEVICE();
  for (bool decoupled : {false, true})
    for (bool overflow : {false, true}) {
      SCOPED_TRACE(testing::Message() << decoupled << overflow);
      check_adam<Half>(decoupled, overflow);
      check_adam<float>(decoupled, overflow);
    }
}

TEST(RecordDevice, KeepsTheLossAndCountsRightOnes) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Index n : {1, 3, 255, 600}) {
      const auto logits = random_uniform<double>(n, 5, -90, 90);
      const auto targets = random_integers<double>(n, 6, 0, 1);
      DeviceArray<float> z(logits), t(targets), loss(1);
      cuda::bce_forward(nullptr, n, z.data(), t.data(), loss.data());
      double right = 0;
      for (std::size_t i = 0; i < logits.size(); ++i)
        right += (logits[i] >= 0) == (targets[i] > 0.5);
      DeviceStructs<StepRecord> records{std::vector<StepRecord>(kStepRecords)};
      DeviceStructs<StepScalars> later(Scalars{{.position = kStepRecords + 5}});
      cuda::record_step(nullptr, n, z.data(), t.data(), loss.data(), later.data(), records.data());
      EXPECT_EQ(records.values()[5].right, right);
      EXPECT_EQ(records.values()[5].loss, loss.values()[0]);
      EXPECT_EQ(records.values()[4].right, 0);
    }
  });
}

// A batch in two slices: the sums of both are what the whole batch has, and so is the gradient.
TEST(RecordDevice, SumsOfSlicesAreThoseOfTheBatch) {
  DF_NEEDS_DEVICE();
  constexpr Index kWhole = 600, kFirst = 255;
  const BceWeights weights{.real = 0.75, .fake = 3};
  const auto logits = as_stored<float>(random_uniform<double>(kWhole, 5, -90, 90));
  const auto targets = random_integers<double>(kWhole, 6, 0, 1);
  for_each_thread_order([&] {
    DeviceArray<float> z(logits), t(targets), loss(1), dz(kWhole), in_slices(kWhole);
    DeviceStructs<StepScalars> scalars(Scalars{{.position = 5, .loss_scale = 1024.0f}});
    DeviceStructs<StepRecord> records{std::vector<StepRecord>(kStepRecords)};
    cuda::bce_forward(nullptr, kWhole, z.data(), t.data(), loss.data(), weights);
    cuda::record_step(nullptr, kWhole, z.data(), t.data(), loss.data(), scalars.data(),
                      records.data());
    const StepRecord want = records.values()[5];
    cuda::bce_backward(nullptr, kWhole, z.data(), t.data(), scalars.data(), dz.data(), weights);
    std::vector<double> all(2);
    for (const auto& [first, n] : {std::pair<Index, Index>{0, kFirst}, {kFirst, kWhole - kFirst}}) {
      DeviceStructs<double> sums(std::vector<double>(2));
      cuda::bce_sums(nullptr, n, z.data() + first, t.data() + first, sums.data(), weights);
      for (std::size_t i = 0; i < 2; ++i) all[i] += sums.values()[i];
      cuda::bce_backward(nullptr, n, z.data() + first, t.data() + first, scalars.data(),
                         in_slices.data() + first, weights, kWhole);
    }
    DeviceStructs<double> sums(all);
    cuda::record_sums(nullptr, sums.data(), kWhole, scalars.data(), records.data());
    const StepRecord got = records.values()[5];
    EXPECT_NEAR(got.loss, want.loss, tolerance<float>(kWhole, 3 * 90));
    EXPECT_EQ(got.right, want.right);
    EXPECT_EQ(in_slices.values(), dz.values());
  });
}

template <class T>
void check_cast(Index count) {
  const auto x = as_stored<float>(random_uniform<double>(count, 6, -70000, 70000));
  DeviceArray<float> from(x);
  DeviceArray<T> to(count);
  cuda::cast<T>(nullptr, count, from.data(), to.data());
  EXPECT_EQ(to.values(), as_stored<T>(x));
}

TEST(CastDevice, RoundsOnce) {
  DF_NEEDS_DEVICE();
  for (Index count : {1, 7, 8, 9, 2048, 2051}) {
    check_cast<Half>(count);
    check_cast<BFloat16>(count);
    check_cast<float>(count);
  }
}

}  // namespace
}  // namespace dfengine::test
