// Dropout on every target: each element's draw is the documented one, backward repeats it, whatever
// the schedule.
#include "kernels/dropout.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

const StepInput kInput{.seed = 77, .step = 5};

template <class T>
void forward(const Cpu<T>& on, Index count, double rate, const T* x, T* y, Index first = 0) {
  cpu::dropout_forward<T>(on.context(), count, rate, &kInput, x, y, first);
}
template <class T>
void backward(const Cpu<T>& on, Index count, double rate, const T* dy, Write write, T* dx,
              Index first = 0) {
  cpu::dropout_backward<T>(on.context(), count, rate, &kInput, dy, write, dx, first);
}

void forward(Device<float>, Index count, double rate, const float* x, float* y, Index first = 0) {
  DeviceStructs<StepInput> input({kInput});
  cuda::dropout_forward(nullptr, count, rate, input.data(), x, y, first);
  cuda::synchronize(nullptr);
}
void backward(Device<float>, Index count, double rate, const float* dy, Write write, float* dx,
              Index first = 0) {
  DeviceStructs<StepInput> input({kInput});
  cuda::dropout_backward(nullptr, count, rate, input.data(), dy, write, dx, first);
  cuda::synchronize(nullptr);
}

template <class Target>
class Dropout : public OnTarget<Target> {};
TYPED_TEST_SUITE(Dropout, HeadTargets, TargetNames);

template <class Target>
void expect_documented_draws(const Target& on, Index count, double rate) {
  using T = typename Target::Value;
  const Doubles at = random_uniform<double>(count, 1, 1, 2);
  ValuesOn<Target> x(at), apart(count), y(at), dx(at), sum(Doubles(at.size(), 3));
  forward(on, count, rate, x.data(), apart.data());
  forward(on, count, rate, y.data(), y.data());
  backward(on, count, rate, dx.data(), Write::Overwrite, dx.data());
  backward(on, count, rate, x.data(), Write::Accumulate, sum.data());
  Random draws(kInput.seed, RandomStream::Dropout, kInput.step);
  const T scale = static_cast<T>(1 / (1 - rate));
  const Doubles ys = y.values(), sums = sum.values();
  for (std::size_t i = 0; i < ys.size(); ++i) {
    const T kept = draws.uniform() >= rate ? static_cast<T>(at[i]) * scale : T(0);
    ASSERT_EQ(ys[i], kept) << i;
    // A GPU may add without rounding the product first.
    ASSERT_NEAR(sums[i], T(3) + kept, tolerance<T>(1, 3 + kept)) << i;
  }
  EXPECT_EQ(apart.values(), ys) << "y is not x";
  EXPECT_EQ(dx.values(), ys);
}

TYPED_TEST(Dropout, DrawsAreTheDocumentedOnes) {
  for (Index count : {0, 1, 3, 4, 5, 6, 1280 * 3, 4096, 10001})
    for (double rate : {0.0, 0.2, 0.25, 0.5})
      for_each_schedule<TypeParam>(
          [&](const TypeParam& on) { expect_documented_draws(on, count, rate); });
}

// Of a slice of a batch, wherever it is cut.
TYPED_TEST(Dropout, DrawsOfAPartAreThoseOfTheWhole) {
  constexpr Index kCount = 5000;
  const Doubles x = random_uniform<double>(kCount, 2, 1, 2);
  for_each_schedule<TypeParam>([&](const TypeParam& on) {
    ValuesOn<TypeParam> whole(x), y(x), dx(x);
    forward(on, kCount, 0.3, whole.data(), whole.data());
    for (const auto& [first, end] :
         {std::pair<Index, Index>{0, 1}, {1, 7}, {7, 1032}, {1032, kCount}}) {
      forward(on, end - first, 0.3, y.data() + first, y.data() + first, first);
      backward(on, end - first, 0.3, dx.data() + first, Write::Overwrite, dx.data() + first, first);
    }
    EXPECT_EQ(y.values(), whole.values());
    EXPECT_EQ(dx.values(), whole.values());
  });
}

TYPED_TEST(Dropout, RefusesSenselessRates) {
  ValuesOn<TypeParam> x(Index{1});
  for (double rate : {-0.1, 1.0, std::nan("")}) {
    EXPECT_THROW(forward(TypeParam{}, 1, rate, x.data(), x.data()), UsageError);
    EXPECT_THROW(backward(TypeParam{}, 1, rate, x.data(), Write::Overwrite, x.data()), UsageError);
  }
}

TEST(Dropout, KeepsTheShareAndTheMean) {
  constexpr Index kCount = 40000;
  constexpr double kRate = 0.3;
  ThreadPool pool(1);
  Doubles ones(kCount, 1), y(kCount), next(kCount);
  StepInput input = kInput;
  cpu::dropout_forward<double>({pool}, kCount, kRate, &input, ones.data(), y.data());
  ++input.step;
  cpu::dropout_forward<double>({pool}, kCount, kRate, &input, ones.data(), next.data());
  double mean = 0;
  for (double v : y) mean += v / kCount;
  EXPECT_NEAR(mean, 1, sampling_tolerance(kCount, kRate / (1 - kRate)));
  EXPECT_NE(y, next) << "another step must draw another mask";
}

}  // namespace
}  // namespace dfengine::test
