// ReLU and ReLU6 on every target: values and gradient on both sides of each bound and on it.
#include "kernels/activation.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void forward(const Cpu<T>& on, Activation act, Index count, const T* x, T* y) {
  cpu::activation_forward<T>(on.context(), act, count, x, y);
}
template <class T>
void forward(Device<T>, Activation act, Index count, const T* x, T* y) {
  cuda::activation_forward<T>(nullptr, act, count, x, y);
}

template <class T>
void backward(const Cpu<T>& on, Activation act, Index count, const T* y, const T* dy, Write write,
              T* dx) {
  cpu::activation_backward<T>(on.context(), act, count, y, dy, write, dx);
}
template <class T>
void backward(Device<T>, Activation act, Index count, const T* y, const T* dy, Write write, T* dx) {
  cuda::activation_backward<T>(nullptr, act, count, y, dy, write, dx);
}

template <class Target>
class Activations : public OnTarget<Target> {};
TYPED_TEST_SUITE(Activations, Targets, TargetNames);

struct Row {
  double x, relu, relu6;
  bool relu_passes, relu6_passes;  // the gradient
};

// The smallest and a large number of half; every type holds them all.
constexpr double kTiny = 0x1p-24, kLarge = 57344;
constexpr Row kRows[] = {
    {-3, 0, 0, false, false}, {-0.0, 0, 0, false, false},
    {0, 0, 0, false, false},  {kTiny, kTiny, kTiny, true, true},
    {2, 2, 2, true, true},    {5.5, 5.5, 5.5, true, true},
    {6, 6, 6, true, false},   {kLarge, kLarge, 6, true, false},
};

// The rows over and over, shifted by `lag`, so that each meets every lane and the tails.
struct Rows {
  Index count;
  std::size_t lag;
  Doubles x, dy, before;

  Rows(Index n, std::size_t shift)
      : count(n), lag(shift), dy(random_integers<double>(n, shift, 1, 9)), before(dy.size(), 100) {
    for (std::size_t i = 0; i < dy.size(); ++i) x.push_back(at(i).x);
  }
  const Row& at(std::size_t i) const { return kRows[(i + lag) % std::size(kRows)]; }
};

template <class Target>
void expect_rows(const Target& on, const Rows& rows, Activation act) {
  ValuesOn<Target> y(rows.x), dy(rows.dy), dx(rows.dy), sum(rows.before), apart(rows.count);
  ValuesOn<Target> x(rows.x);
  forward(on, act, rows.count, x.data(), apart.data());
  forward(on, act, rows.count, y.data(), y.data());
  backward(on, act, rows.count, y.data(), dy.data(), Write::Accumulate, sum.data());
  backward(on, act, rows.count, y.data(), dx.data(), Write::Overwrite, dx.data());
  const Doubles ys = y.values(), dxs = dx.values(), sums = sum.values();
  EXPECT_EQ(apart.values(), ys) << "y is not x";
  for (std::size_t i = 0; i < ys.size(); ++i) {
    const Row& r = rows.at(i);
    const bool relu = act == Activation::Relu, none = act == Activation::None;
    ASSERT_EQ(ys[i], none ? r.x : relu ? r.relu : r.relu6) << i;
    const bool passes = none || (relu ? r.relu_passes : r.relu6_passes);
    ASSERT_EQ(dxs[i], passes ? rows.dy[i] : 0) << i << " x " << r.x;
    ASSERT_EQ(sums[i], 100 + dxs[i]) << i;
  }
}

constexpr Activation kAll[] = {Activation::None, Activation::Relu, Activation::Relu6};

TYPED_TEST(Activations, ValuesAndGradients) {
  for (Index count : {0, 1, 3, 7, 8, 9, 16, 24, 33, 96})
    for (std::size_t lag = 0; lag < std::size(kRows); ++lag) {
      const Rows rows(count, lag);
      for (Activation act : kAll)
        for_each_code<TypeParam>([&] { expect_rows(TypeParam{}, rows, act); });
    }
}

TYPED_TEST(Activations, SeveralTasksForEverySchedule) {
  for (Index count : {2048, 2051, TypeParam::kOnDevice ? 10001 : 100001}) {
    const Rows rows(count, 3);
    for (Activation act : kAll)
      for_each_code<TypeParam>([&] {
        for_each_schedule<TypeParam>([&](const TypeParam& on) { expect_rows(on, rows, act); });
      });
  }
}

// What is added to is rounded once.
TYPED_TEST(Activations, AccumulatedGradientIsRoundedOnce) {
  using T = typename TypeParam::Value;
  const Index count = 2051;
  const Doubles dy = as_stored<T>(random_uniform<double>(count, 2, -2, 8)),
                before = as_stored<T>(random_uniform<double>(count, 3, -2, 8));
  Doubles want;
  for (std::size_t i = 0; i < dy.size(); ++i) want.push_back(before[i] + dy[i]);
  for_each_code<TypeParam>([&] {
    ValuesOn<TypeParam> y(Doubles(dy.size(), 3)), in(dy), sum(before);
    backward(TypeParam{}, Activation::Relu6, count, y.data(), in.data(), Write::Accumulate,
             sum.data());
    EXPECT_EQ(sum.values(), as_stored<T>(want));
  });
}

TYPED_TEST(Activations, NanIsNotHidden) {
  for (Activation act : kAll)
    for_each_code<TypeParam>([&] {
      ValuesOn<TypeParam> y(Index{21});  // of NaN
      forward(TypeParam{}, act, 21, y.data(), y.data());
      for (double v : y.values()) EXPECT_TRUE(std::isnan(v));
    });
}

}  // namespace
}  // namespace dfengine::test
