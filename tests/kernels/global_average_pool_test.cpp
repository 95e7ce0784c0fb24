// Global average pool: exact integer sums, gradient, float against double, threads.
#include "kernels/global_average_pool.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

// With 4, 16 or 64 pixels the mean of integers is exact: any wrong index shows.
template <class T>
void expect_exact(const Shape& shape, int threads) {
  cpu::ThreadPool pool(threads);
  const Index pixels = shape.h * shape.w;
  const auto x = random_integers<T>(shape.count(), 1, -50, 50);
  const auto dy = random_integers<T>(shape.n * shape.c, 2, -50, 50);
  std::vector<T> y(dy.size(), 9), dx(x.size(), 9), sum = x;
  cpu::global_average_pool_forward<T>({pool}, shape, x.data(), y.data());
  cpu::global_average_pool_backward<T>({pool}, shape, dy.data(), Write::Overwrite, dx.data());
  cpu::global_average_pool_backward<T>({pool}, shape, dy.data(), Write::Accumulate, sum.data());
  std::vector<T> want(y.size(), 0);
  for (Index i = 0; i < shape.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto out = static_cast<std::size_t>(i / (pixels * shape.c) * shape.c + i % shape.c);
    want[out] += x[at] / static_cast<T>(pixels);
    ASSERT_EQ(dx[at], dy[out] / static_cast<T>(pixels)) << i;
    ASSERT_EQ(sum[at], x[at] + dx[at]) << i;
  }
  EXPECT_EQ(y, want);
}

TEST(GlobalAveragePool, ExactOnIntegers) {
  for (Index c : {1, 3, 8, 16, 24, 33, 96}) {
    for (const Shape& shape : {Shape{1, 1, 1, c}, Shape{3, 2, 2, c}, Shape{2, 8, 2, c}}) {
      expect_exact<double>(shape, 1);
      for_each_isa([&] {
        expect_exact<float>(shape, 1);
        expect_exact<float>(shape, 2);
      });
    }
  }
}

TEST(GlobalAveragePool, FloatEqualsDouble) {
  const Shape shape{2, 7, 7, 40};
  cpu::ThreadPool pool(1);
  const auto x = random_values<double>(shape.count(), 3);
  const std::vector<float> narrow(x.begin(), x.end());
  std::vector<double> want(80);
  cpu::global_average_pool_forward<double>({pool}, shape, x.data(), want.data());
  for_each_isa([&] {
    std::vector<float> got(80);
    cpu::global_average_pool_forward<float>({pool}, shape, narrow.data(), got.data());
    expect_all_near(got, want, tolerance<float>(49, 1), "y");
  });
}

}  // namespace
}  // namespace dfengine::test
