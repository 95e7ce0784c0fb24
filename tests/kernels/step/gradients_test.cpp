// Sums, clipping and moving averages of whole parameter blocks on every target, by their formulas
// in double; the same bits for any schedule.
#include "kernels/gradients.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/moving_average.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void add(const Cpu<T>& on, Index n, const T* g, T* sum) {
  cpu::add_gradients<T>(on.context(), n, g, sum);
}
template <class T>
void take(const Cpu<T>& on, Index n, const StepInput& input, T* sum, T* g) {
  cpu::take_gradients<T>(on.context(), n, &input, sum, g);
}
template <class T>
void clip(const Cpu<T>& on, Index n, double most, const StepScalars& scalars, T* g) {
  std::vector<double> scratch(static_cast<std::size_t>(clip_scratch(n)));
  cpu::clip_gradients<T>(on.context(), n, most, &scalars, scratch.data(), g);
}
template <class T>
void move(const Cpu<T>& on, Index n, const StepInput& input, const StepScalars& scalars,
          const T* values, T* average) {
  cpu::move_average<T>(on.context(), n, &input, &scalars, values, average);
}

void add(Device<float>, Index n, const float* g, float* sum) {
  cuda::add_gradients(nullptr, n, g, sum);
}
void take(Device<float>, Index n, const StepInput& input, float* sum, float* g) {
  DeviceStructs<StepInput> inputs(std::vector<StepInput>{input});
  cuda::take_gradients(nullptr, n, inputs.data(), sum, g);
  cuda::synchronize(nullptr);
}
void clip(Device<float>, Index n, double most, const StepScalars& scalars, float* g) {
  DeviceStructs<StepScalars> at(std::vector<StepScalars>{scalars});
  DeviceStructs<double> scratch(std::vector<double>(static_cast<std::size_t>(clip_scratch(n))));
  cuda::clip_gradients(nullptr, n, most, at.data(), scratch.data(), g);
  cuda::synchronize(nullptr);
}
void move(Device<float>, Index n, const StepInput& input, const StepScalars& scalars,
          const float* values, float* average) {
  DeviceStructs<StepInput> inputs(std::vector<StepInput>{input});
  DeviceStructs<StepScalars> at(std::vector<StepScalars>{scalars});
  cuda::move_average(nullptr, n, inputs.data(), at.data(), values, average);
  cuda::synchronize(nullptr);
}

constexpr Index kCounts[] = {1, 255, kNormChunk, kNormChunk + 1, 3 * kNormChunk + 77};

template <class Target>
class Gradients : public OnTarget<Target> {};
TYPED_TEST_SUITE(Gradients, HeadTargets, TargetNames);

TYPED_TEST(Gradients, ThreeStepsMakeTheirMean) {
  using T = typename TypeParam::Value;
  for_each_schedule<TypeParam>([](const TypeParam& on) {
    for (Index n : kCounts) {
      const Doubles a = as_stored<T>(random_uniform<double>(n, 1)),
                    b = as_stored<T>(random_uniform<double>(n, 2)),
                    c = as_stored<T>(random_uniform<double>(n, 3));
      ValuesOn<TypeParam> first(a), second(b), third(c), sum(Doubles(a.size(), 0.0));
      add(on, n, first.data(), sum.data());
      add(on, n, second.data(), sum.data());
      take(on, n, {.gradient_scale = 1.0 / 3}, sum.data(), third.data());
      Doubles want;
      for (std::size_t i = 0; i < a.size(); ++i) want.push_back((a[i] + b[i] + c[i]) / 3);
      expect_all_near(third.values(), want, tolerance<T>(4, 1), "mean");
      EXPECT_EQ(sum.values(), Doubles(a.size(), 0.0));
    }
  });
}

// PyTorch's clip_grad_norm_: g * min(1, most / (norm + 1e-6)).
TYPED_TEST(Gradients, AreClippedByTheirCommonNorm) {
  using T = typename TypeParam::Value;
  constexpr float kScale = 1024;  // of the loss; the CPU knows none but 1 in training
  for_each_schedule<TypeParam>([](const TypeParam& on) {
    for (Index n : kCounts) {
      const Doubles g = as_stored<T>(random_uniform<double>(n, 4));
      double squares = 0;
      for (double v : g) squares += v * v;
      const double norm = std::sqrt(squares) / kScale;
      for (double most : {norm / 8, 2 * norm}) {
        ValuesOn<TypeParam> got(g);
        clip(on, n, most, {.loss_scale = kScale}, got.data());
        const double factor = std::min(1.0, most / (norm + 1e-6));
        Doubles want;
        for (double v : g) want.push_back(v * factor);
        if (factor == 1)
          EXPECT_EQ(got.values(), g);
        else
          expect_all_near(got.values(), want, tolerance<T>(static_cast<double>(n), factor), "g");
      }
    }
  });
}

TYPED_TEST(Gradients, AMovingAverageFollowsAppliedSteps) {
  using T = typename TypeParam::Value;
  for_each_schedule<TypeParam>([](const TypeParam& on) {
    for (Index n : kCounts) {
      const Doubles v = as_stored<T>(random_uniform<double>(n, 5)),
                    a = as_stored<T>(random_uniform<double>(n, 6));
      const StepInput input{.average_decay = 0.9};
      ValuesOn<TypeParam> values(v), average(a), rests(v);
      move(on, n, input, {.overflow = 1}, values.data(), average.data());
      EXPECT_EQ(average.values(), a) << "after a step that was left out";
      move(on, n, input, {}, values.data(), average.data());
      Doubles want;
      for (std::size_t i = 0; i < v.size(); ++i) want.push_back(0.9 * a[i] + 0.1 * v[i]);
      expect_all_near(average.values(), want, tolerance<T>(3, 1), "average");
      move(on, n, input, {}, values.data(), rests.data());
      EXPECT_EQ(rests.values(), v) << "an average that is the value stays so";
    }
  });
}

}  // namespace
}  // namespace dfengine::test
