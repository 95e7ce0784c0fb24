// Residual addition on integers, where it is exact: in place, tails, several tasks and threads.
#include "kernels/residual_add.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void expect_exact(Index count, int threads) {
  cpu::ThreadPool pool(threads);
  const auto a = random_integers<T>(count, 1, -50, 50), b = random_integers<T>(count, 2, -50, 50);
  std::vector<T> y(a.size()), into_a = a, into_b = b, copy(a.size(), 7), sum = b;
  cpu::residual_add<T>({pool}, count, a.data(), b.data(), y.data());
  cpu::residual_add<T>({pool}, count, into_a.data(), b.data(), into_a.data());
  cpu::residual_add<T>({pool}, count, a.data(), into_b.data(), into_b.data());
  cpu::residual_add_backward<T>({pool}, count, a.data(), Write::Overwrite, copy.data());
  cpu::residual_add_backward<T>({pool}, count, a.data(), Write::Accumulate, sum.data());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(y[i], a[i] + b[i]) << i;
  EXPECT_EQ(into_a, y);
  EXPECT_EQ(into_b, y);
  EXPECT_EQ(copy, a);
  EXPECT_EQ(sum, y);
}

TEST(ResidualAdd, ExactOnIntegers) {
  for (Index count : {0, 1, 3, 8, 16, 24, 33, 96, 16320, 50001}) {
    expect_exact<double>(count, 1);
    for_each_isa([&] {
      expect_exact<float>(count, 1);
      expect_exact<float>(count, 3);
    });
  }
}

}  // namespace
}  // namespace dfengine::test
