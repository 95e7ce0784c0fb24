// ReLU and ReLU6: values and gradient on both sides of each bound and on it, every instruction set.
#include "kernels/activation.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

struct Row {
  float x, relu, relu6;
  bool relu_passes, relu6_passes;  // the gradient
};

constexpr Row kRows[] = {
    {-3, 0, 0, false, false}, {-0.0f, 0, 0, false, false},
    {0, 0, 0, false, false},  {1e-30f, 1e-30f, 1e-30f, true, true},
    {2, 2, 2, true, true},    {5.5f, 5.5f, 5.5f, true, true},
    {6, 6, 6, true, false},   {1e30f, 1e30f, 6, true, false},
};

// The rows over and over, shifted by `lag`, so that each meets every lane and the tails.
template <class T>
void expect_rows(Index count, std::size_t lag) {
  cpu::ThreadPool pool(1);
  const auto row = [&](std::size_t i) { return kRows[(i + lag) % std::size(kRows)]; };
  std::vector<T> x(static_cast<std::size_t>(count)), dy = random_integers<T>(count, lag, 1, 9);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(row(i).x);
  for (Activation act : {Activation::None, Activation::Relu, Activation::Relu6}) {
    std::vector<T> y = x, dx = dy, sum(x.size(), 100);  // in place: y is x, dx is dy
    cpu::activation_forward<T>({pool}, act, count, y.data(), y.data());
    cpu::activation_backward<T>({pool}, act, count, y.data(), dx.data(), Write::Overwrite,
                                dx.data());
    cpu::activation_backward<T>({pool}, act, count, y.data(), dy.data(), Write::Accumulate,
                                sum.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Row r = row(i);
      const bool relu = act == Activation::Relu, none = act == Activation::None;
      ASSERT_EQ(y[i], static_cast<T>(none ? r.x : relu ? r.relu : r.relu6)) << i;
      const bool passes = none || (relu ? r.relu_passes : r.relu6_passes);
      ASSERT_EQ(dx[i], passes ? dy[i] : 0) << i << " x " << r.x;
      ASSERT_EQ(sum[i], 100 + dx[i]) << i;
    }
  }
}

TEST(Activation, ValuesAndGradients) {
  const auto all = [](auto zero) {
    for (Index count : {1, 3, 8, 16, 24, 33, 96, 40000}) {
      for (std::size_t lag = 0; lag < std::size(kRows); ++lag)
        expect_rows<decltype(zero)>(count, lag);
    }
  };
  all(0.0);
  for_each_isa([&] { all(0.0f); });
}

template <class T>
void expect_nan_passes() {
  cpu::ThreadPool pool(1);
  for (Activation act : {Activation::None, Activation::Relu, Activation::Relu6}) {
    std::vector<T> y(21, std::numeric_limits<T>::quiet_NaN());
    cpu::activation_forward<T>({pool}, act, 21, y.data(), y.data());
    for (T v : y) EXPECT_TRUE(std::isnan(v));
  }
}

TEST(Activation, NanIsNotHidden) {
  expect_nan_passes<double>();
  for_each_isa(expect_nan_passes<float>);
}

TEST(Activation, SameForAnyThreads) {
  constexpr Index kCount = 100001;
  const auto x = random_uniform<float>(kCount, 1, -3, 9);
  std::vector<float> one(kCount), three(kCount);
  cpu::ThreadPool pool1(1), pool3(3);
  cpu::activation_forward<float>({pool1}, Activation::Relu6, kCount, x.data(), one.data());
  cpu::activation_forward<float>({pool3}, Activation::Relu6, kCount, x.data(), three.data());
  EXPECT_EQ(one, three);
}

}  // namespace
}  // namespace dfengine::test
