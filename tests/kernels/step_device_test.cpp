// What a training step on the device does beside the layers: loss, overflow check, Adam, loss
// scale.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/adam.h"
#include "kernels/bce_loss.h"
#include "kernels/device_step.h"
#include "kernels/dropout.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "tests/kernels/kernel_data.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using cuda::AdamChunk;
using Scalars = std::vector<StepScalars>;

// Structs on the device.
template <class S>
class DeviceStructs {
 public:
  explicit DeviceStructs(const std::vector<S>& values)
      : count_(values.size()), memory_(cuda::allocate_device(bytes())) {
    cuda::upload(nullptr, memory_.get(), values.data(), bytes());
    cuda::synchronize(nullptr);
  }
  S* data() { return static_cast<S*>(memory_.get()); }
  std::vector<S> values() const {
    std::vector<S> out(count_);
    cuda::download(nullptr, out.data(), memory_.get(), bytes());
    cuda::synchronize(nullptr);
    return out;
  }

 private:
  Index bytes() const { return static_cast<Index>(count_ * sizeof(S)); }
  std::size_t count_;
  cuda::DeviceMemory memory_;
};

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

struct AdamCase {
  std::vector<double> w, grad, m, v;
  std::vector<AdamChunk> chunks = {
      {0, 300, 0.01f, false}, {300, 100, 0.0f, false}, {450, 50, 0.0f, true}};
  double rate = 0.002;
  StepScalars scalars{.step = 3, .position = 1, .loss_scale = 128.0f, .growth_interval = 2000};

  AdamCase()
      : w(random_uniform<double>(500, 1)),
        grad(random_uniform<double>(500, 2)),
        m(random_uniform<double>(500, 3, 0, 1)),
        v(random_uniform<double>(500, 4, 0, 1)) {}
};

template <class T>
void check_adam(bool decoupled, bool overflow) {
  AdamCase d;
  d.scalars.overflow = overflow;
  DeviceArray<float> w(d.w), grad(d.grad), m(d.m), v(d.v), rate(std::vector<double>{d.rate});
  DeviceArray<T> working(500);
  DeviceStructs<AdamChunk> chunks(d.chunks);
  DeviceStructs<StepScalars> scalars(Scalars{d.scalars});
  AdamProblem p{.decoupled = decoupled};
  cuda::adam_update<T>(nullptr, p, scalars.data(), rate.data(), chunks.data(), 3, grad.data(),
                       w.data(), m.data(), v.data(), sizeof(T) < 4 ? working.data() : nullptr);
  cuda::finish_step(nullptr, scalars.data());

  std::vector<double> want = d.w;
  if (!overflow) {
    p.lr = static_cast<float>(d.rate);
    p.step = 4;
    for (double& g : d.grad) g /= 128.0;
    cpu::ThreadPool pool(1);
    for (int i = 0; i < 2; ++i) {
      p.weight_decay = d.chunks[size_t(i)].weight_decay;
      const Index at = d.chunks[size_t(i)].offset;
      cpu::adam_update<double>({pool}, p, d.chunks[size_t(i)].count, d.grad.data() + at,
                               want.data() + at, d.m.data() + at, d.v.data() + at);
    }
    for (std::size_t i = 450; i < 500; ++i) want[i] = d.grad[i] * 128.0;
  }
  const std::vector<double> ones(500, 1.0);
  expect_device_close<float>(w.values(), want, 8, ones, "w");
  expect_device_close<float>(m.values(), d.m, 8, ones, "m");
  expect_device_close<float>(v.values(), d.v, 8, ones, "v");
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

TEST(BceDevice, EqualsDoubleAndCountsRightOnes) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Index n : {1, 3, 255, 600}) {
      const auto logits = random_uniform<double>(n, 5, -90, 90);
      const auto targets = random_integers<double>(n, 6, 0, 1);
      DeviceArray<float> z(logits), t(targets), loss_out(1), dz(n);
      DeviceStructs<StepScalars> scalars(Scalars{{.loss_scale = 1024.0f}});
      cuda::bce_forward(nullptr, n, z.data(), t.data(), loss_out.data());
      cuda::bce_backward(nullptr, n, z.data(), t.data(), scalars.data(), dz.data());
      cpu::ThreadPool pool(1);
      double loss = 0, right = 0;
      std::vector<double> want(logits.size());
      cpu::bce_forward<double>({pool}, n, logits.data(), targets.data(), &loss);
      cpu::bce_backward<double>({pool}, n, logits.data(), targets.data(), want.data());
      for (double& g : want) g *= 1024.0;
      for (std::size_t i = 0; i < logits.size(); ++i)
        right += (logits[i] >= 0) == (targets[i] > 0.5);
      EXPECT_NEAR(loss_out.values()[0], loss, tolerance<float>(static_cast<double>(n), 91));
      DeviceStructs<StepRecord> records{std::vector<StepRecord>(kStepRecords)};
      DeviceStructs<StepScalars> later(Scalars{{.position = kStepRecords + 5}});
      cuda::record_step(nullptr, n, z.data(), t.data(), loss_out.data(), later.data(),
                        records.data());
      EXPECT_EQ(records.values()[5].right, right);
      EXPECT_EQ(records.values()[5].loss, loss_out.values()[0]);
      EXPECT_EQ(records.values()[4].right, 0);
      expect_device_close<float>(dz.values(), want, 4,
                                 std::vector<double>(logits.size(), 2048.0 / double(n)), "dz");
    }
  });
  DeviceArray<float> bad(std::vector<double>{1.0, kNan, 2.0}), t(std::vector<double>{1, 1, 1}),
      loss(1);
  cuda::bce_forward(nullptr, 3, bad.data(), t.data(), loss.data());
  EXPECT_TRUE(std::isnan(loss.values()[0])) << "a NaN must not be hidden";
}

TEST(DropoutDevice, DropsTheSameElementsAsTheCpu) {
  DF_NEEDS_DEVICE();
  const StepScalars at{.seed = 11, .step = 5};
  DeviceStructs<StepScalars> scalars(Scalars{at});
  for (double rate : {0.0, 0.2, 0.5})
    for (Index count : {1, 6, 1280 * 3}) {
      const std::vector<float> x = random_uniform<float>(count, 3);
      DeviceArray<float> on(converted<double>(x)), y(count), dx(converted<double>(x));
      std::vector<float> want(x.size());
      cpu::ThreadPool pool(1);
      cpu::dropout_forward<float>({pool}, count, rate, at.seed, at.step, x.data(), want.data());
      cuda::dropout_forward(nullptr, count, rate, scalars.data(), on.data(), y.data());
      EXPECT_EQ(y.values(), converted<double>(want)) << rate;
      cuda::dropout_backward(nullptr, count, rate, scalars.data(), on.data(), Write::Accumulate,
                             dx.data());
      for (std::size_t i = 0; i < want.size(); ++i) want[i] += x[i];
      EXPECT_EQ(dx.values(), converted<double>(want)) << rate;
    }
  EXPECT_THROW(cuda::dropout_forward(nullptr, 1, 1.0, scalars.data(), nullptr, nullptr),
               UsageError);
}

}  // namespace
}  // namespace dfengine::test
