// Activation, residual add and cast on the device: exact up to one rounding.
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/device_step.h"
#include "kernels/residual_add.h"
#include "tests/kernels/kernel_data.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

constexpr Index kCounts[] = {1, 7, 8, 9, 2048, 2051};

template <class T>
std::vector<double> operand(Index count, std::uint64_t seed) {
  return as_stored<T>(random_uniform<double>(count, seed, -2, 8));
}

template <class T>
void check_activation(Index count) {
  const auto x = operand<T>(count, 1), dy = operand<T>(count, 2), old = operand<T>(count, 3);
  cpu::ThreadPool pool(1);
  for (Activation act : {Activation::None, Activation::Relu, Activation::Relu6}) {
    DeviceArray<T> xs(x), ys(count), dys(dy), dxs(old);
    std::vector<double> y(x.size()), dx = old;
    cpu::activation_forward<double>({pool}, act, count, x.data(), y.data());
    cuda::activation_forward<T>(nullptr, act, count, xs.data(), ys.data());
    EXPECT_EQ(ys.values(), y);
    cpu::activation_backward<double>({pool}, act, count, y.data(), dy.data(), Write::Accumulate,
                                     dx.data());
    cuda::activation_backward<T>(nullptr, act, count, ys.data(), dys.data(), Write::Accumulate,
                                 dxs.data());
    EXPECT_EQ(dxs.values(), as_stored<T>(dx));
  }
}

template <class T>
void check_residual_add(Index count) {
  const auto a = operand<T>(count, 4), b = operand<T>(count, 5);
  std::vector<double> sum(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) sum[i] = a[i] + b[i];
  DeviceArray<T> as(a), bs(b), copy(count);
  cuda::residual_add_backward<T>(nullptr, count, as.data(), Write::Overwrite, copy.data());
  EXPECT_EQ(copy.values(), a);
  cuda::residual_add_backward<T>(nullptr, count, bs.data(), Write::Accumulate, copy.data());
  EXPECT_EQ(copy.values(), as_stored<T>(sum));
  cuda::residual_add<T>(nullptr, count, as.data(), bs.data(), bs.data());
  EXPECT_EQ(bs.values(), as_stored<T>(sum)) << "y may be b";
}

template <class T>
void check_cast(Index count) {
  const auto x = as_stored<float>(random_uniform<double>(count, 6, -70000, 70000));
  DeviceArray<float> from(x);
  DeviceArray<T> to(count);
  cuda::cast<T>(nullptr, count, from.data(), to.data());
  EXPECT_EQ(to.values(), as_stored<T>(x));
}

template <class T>
void check_all() {
  for (Index count : kCounts) {
    SCOPED_TRACE(count);
    check_activation<T>(count);
    check_residual_add<T>(count);
    check_cast<T>(count);
  }
}

TEST(ElementwiseDevice, EqualsTheCpuRoundedOnce) {
  DF_NEEDS_DEVICE();
  check_all<Half>();
  check_all<BFloat16>();
  check_all<float>();
}

}  // namespace
}  // namespace dfengine::test
