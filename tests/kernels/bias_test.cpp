// Bias gradient: exact on whole numbers, float near double, any number of threads.
#include "kernels/bias.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/device.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::cpu {
namespace {

constexpr Index kRows[] = {1, 2, 49, 300};
constexpr Index kChannels[] = {1, 3, 16, 63, 64, 65, 130};

template <class T>
std::vector<T> run(Index m, Index c, const std::vector<T>& dy, std::vector<T> db, Write write,
                   int threads) {
  ThreadPool pool(threads);
  bias_backward<T>({pool}, m, c, dy.data(), write, db.data());
  return db;
}

template <class T>
void check_whole_numbers() {
  for (Index m : kRows) {
    for (Index c : kChannels) {
      const auto dy = test::random_integers<T>(m * c, 1);
      const auto before = test::random_integers<T>(c, 2);
      for (Write write : {Write::Overwrite, Write::Accumulate}) {
        std::vector<T> want(before);
        for (Index j = 0; j < c; ++j) {
          T& sum = want[static_cast<std::size_t>(j)];
          if (write == Write::Overwrite) sum = 0;
          for (Index i = 0; i < m; ++i) sum += dy[static_cast<std::size_t>(i * c + j)];
        }
        for (int threads : {1, 3}) EXPECT_EQ(run(m, c, dy, before, write, threads), want);
      }
    }
  }
}

TEST(BiasBackward, IsExactOnWholeNumbers) {
  check_whole_numbers<float>();
  check_whole_numbers<double>();
}

TEST(BiasBackward, FloatEqualsDouble) {
  const Index m = 2000, c = 70;
  const auto dy = test::random_uniform<float>(m * c, 1);
  const std::vector<float> zero(static_cast<std::size_t>(c));
  const auto got = run<float>(m, c, dy, zero, Write::Overwrite, 1);
  const auto want = run<double>(m, c, test::converted<double>(dy), test::converted<double>(zero),
                                Write::Overwrite, 1);
  const double allowed = test::tolerance<float>(m, m);
  for (std::size_t j = 0; j < got.size(); ++j)
    EXPECT_NEAR(static_cast<double>(got[j]), want[j], allowed);
}

std::vector<double> run_on_device(Index m, Index c, const std::vector<double>& dy) {
  test::DeviceArray<float> from(dy), scratch(cuda::bias_scratch(m, c)), db(c);
  cuda::bias_backward(nullptr, m, c, from.data(), scratch.data(), db.data());
  scratch.values();
  return db.values();
}

TEST(BiasBackward, DeviceIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  test::for_each_thread_order([] {
    for (Index m : {1, 7, 512, 513}) {
      for (Index c : {1, 33, 64}) {
        const auto dy = test::random_integers<double>(m * c, 1);
        const std::vector<double> nothing(static_cast<std::size_t>(c));
        EXPECT_EQ(run_on_device(m, c, dy), run(m, c, dy, nothing, Write::Overwrite, 1))
            << m << " x " << c;
      }
    }
  });
}

}  // namespace
}  // namespace dfengine::cpu
