// Dropout: each element's draw is the documented one, backward repeats it, threads do not matter.
#include "kernels/dropout.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/kernel_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

constexpr std::uint64_t kSeed = 77, kStep = 5;

template <class T>
void expect_documented_draws(Index count, double rate, int threads) {
  cpu::ThreadPool pool(threads);
  const auto x = random_uniform<T>(count, 1, 1, 2);
  std::vector<T> y = x, dx = x, sum(x.size(), 3);
  cpu::dropout_forward<T>({pool}, count, rate, kSeed, kStep, y.data(), y.data());
  cpu::dropout_backward<T>({pool}, count, rate, kSeed, kStep, dx.data(), Write::Overwrite,
                           dx.data());
  cpu::dropout_backward<T>({pool}, count, rate, kSeed, kStep, x.data(), Write::Accumulate,
                           sum.data());
  Random draws(kSeed, RandomStream::Dropout, kStep);
  const T scale = static_cast<T>(1 / (1 - rate));
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i], draws.uniform() >= rate ? x[i] * scale : 0) << i;
    ASSERT_EQ(sum[i], 3 + y[i]) << i;
  }
  EXPECT_EQ(dx, y);
}

TEST(Dropout, DrawsAreTheDocumentedOnes) {
  for (Index count : {0, 1, 3, 4, 5, 4096, 10001}) {
    for (double rate : {0.0, 0.25, 0.5}) {
      for (int threads : {1, 2, 3}) {
        expect_documented_draws<float>(count, rate, threads);
        expect_documented_draws<double>(count, rate, threads);
      }
    }
  }
}

TEST(Dropout, KeepsTheShareAndTheMean) {
  constexpr Index kCount = 40000;
  constexpr double kRate = 0.3;
  cpu::ThreadPool pool(1);
  std::vector<double> ones(kCount, 1), y(kCount), next(kCount);
  cpu::dropout_forward<double>({pool}, kCount, kRate, kSeed, kStep, ones.data(), y.data());
  cpu::dropout_forward<double>({pool}, kCount, kRate, kSeed, kStep + 1, ones.data(), next.data());
  double mean = 0;
  for (double v : y) mean += v / kCount;
  EXPECT_NEAR(mean, 1, sampling_tolerance(kCount, kRate / (1 - kRate)));
  EXPECT_NE(y, next) << "another step must draw another mask";
}

TEST(Dropout, RefusesSenselessRates) {
  cpu::ThreadPool pool(1);
  float x = 1;
  for (double rate : {-0.1, 1.0, std::nan("")})
    EXPECT_THROW(cpu::dropout_forward<float>({pool}, 1, rate, 1, 1, &x, &x), UsageError);
}

}  // namespace
}  // namespace dfengine::test
