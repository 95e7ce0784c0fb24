// Global average pool: exact integer sums, gradient, float and the device against double, threads.
#include "kernels/global_average_pool.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/kernel_data.h"
#include "tests/support/device.h"
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
  const auto x = random_uniform<double>(shape.count(), 3);
  const std::vector<float> narrow(x.begin(), x.end());
  std::vector<double> want(80);
  cpu::global_average_pool_forward<double>({pool}, shape, x.data(), want.data());
  for_each_isa([&] {
    std::vector<float> got(80);
    cpu::global_average_pool_forward<float>({pool}, shape, narrow.data(), got.data());
    expect_all_near(got, want, tolerance<float>(49, 1), "y");
  });
}

template <class T>
void check_device(const Shape& shape) {
  cpu::ThreadPool pool(1);
  const double pixels = static_cast<double>(shape.h * shape.w);
  const auto x = as_stored<T>(random_uniform<double>(shape.count(), 4));
  const auto dy = random_uniform<double>(shape.n * shape.c, 5);
  std::vector<double> want(dy.size());
  cpu::global_average_pool_forward<double>({pool}, shape, x.data(), want.data());
  DeviceArray<T> in(x), plain(shape.count()), sum(x);
  DeviceArray<float> y(shape.n * shape.c), gradient(dy);
  cuda::global_average_pool_forward<T>(nullptr, shape, in.data(), y.data());
  expect_device_close<float>(y.values(), want, pixels, std::vector<double>(want.size(), 1), "y");
  for (Write write : {Write::Overwrite, Write::Accumulate}) {
    std::vector<double> dx = x;
    cpu::global_average_pool_backward<double>({pool}, shape, dy.data(), write, dx.data());
    DeviceArray<T>& out = write == Write::Accumulate ? sum : plain;
    cuda::global_average_pool_backward<T>(nullptr, shape, gradient.data(), write, out.data());
    expect_device_close<T>(out.values(), dx, 2, std::vector<double>(dx.size(), 2), "dx");
  }
}

TEST(GlobalAveragePool, DeviceEqualsDouble) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Shape& shape :
         {Shape{1, 1, 1, 8}, Shape{3, 7, 7, 40}, Shape{2, 9, 8, 264}, Shape{1, 3, 50, 16}}) {
      SCOPED_TRACE(shape.c);
      check_device<Half>(shape);
      check_device<BFloat16>(shape);
      check_device<float>(shape);
    }
  });
}

// With 16 pixels the mean of integers is exact: any wrong index shows.
TEST(GlobalAveragePool, DeviceIsExactOnIntegers) {
  DF_NEEDS_DEVICE();
  const Shape shape{3, 8, 2, 280};
  cpu::ThreadPool pool(1);
  const auto x = random_integers<double>(shape.count(), 6, -50, 50);
  const auto dy = random_integers<double>(shape.n * shape.c, 7, -50, 50);
  std::vector<double> want(dy.size()), dx(x.size());
  cpu::global_average_pool_forward<double>({pool}, shape, x.data(), want.data());
  cpu::global_average_pool_backward<double>({pool}, shape, dy.data(), Write::Overwrite, dx.data());
  for_each_thread_order([&] {
    DeviceArray<Half> in(x), out(shape.count());
    DeviceArray<float> y(shape.n * shape.c), gradient(dy);
    cuda::global_average_pool_forward<Half>(nullptr, shape, in.data(), y.data());
    cuda::global_average_pool_backward<Half>(nullptr, shape, gradient.data(), Write::Overwrite,
                                             out.data());
    EXPECT_EQ(y.values(), want);
    EXPECT_EQ(out.values(), dx);
  });
}

TEST(GlobalAveragePool, DeviceRejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> x(256);
  DeviceArray<float> y(256);
  EXPECT_THROW(cuda::global_average_pool_forward<Half>(nullptr, {1, 2, 2, 12}, x.data(), y.data()),
               ShapeError);
  EXPECT_THROW(cuda::global_average_pool_backward<Half>(nullptr, {1, 2, 2, 8}, y.data() + 1,
                                                        Write::Overwrite, x.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
