// Binary cross-entropy: PyTorch golden, central differences, logits far out.
#include "kernels/bce_loss.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/kernel_data.h"
#include "tests/kernels/kernel_golden.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

template <class T>
void expect_golden() {
  const auto golden = kernel_golden("bce");
  const auto z = golden_values<T>(golden, "logits"), t = golden_values<T>(golden, "targets");
  const auto n = static_cast<Index>(z.size());
  cpu::ThreadPool pool(1);
  T loss = 0;
  std::vector<T> dz(z.size());
  cpu::bce_forward<T>({pool}, n, z.data(), t.data(), &loss);
  cpu::bce_backward<T>({pool}, n, z.data(), t.data(), dz.data());
  const double want = golden.at("loss");
  EXPECT_NEAR(loss, want, (tolerance<T>(static_cast<double>(n), want)));
  expect_all_near(dz, golden_values<double>(golden, "dlogits"),
                  tolerance<T>(1, 1 / static_cast<double>(n)), "dlogits");
}

TEST(BceLoss, EqualsPyTorch) {
  expect_golden<float>();
  expect_golden<double>();
}

TEST(BceLoss, GradientsEqualCentralDifferences) {
  constexpr double kStep = 1e-5;
  constexpr Index kCount = 11;
  auto z = random_uniform<double>(kCount, 1, -4, 4);
  const auto t = random_integers<double>(kCount, 2, 0, 1);
  cpu::ThreadPool pool(1);
  std::vector<double> dz(z.size());
  cpu::bce_backward<double>({pool}, kCount, z.data(), t.data(), dz.data());
  const auto loss = [&] {
    double value = 0;
    cpu::bce_forward<double>({pool}, kCount, z.data(), t.data(), &value);
    return value;
  };
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double before = z[i];
    z[i] = before + kStep;
    const double high = loss();
    z[i] = before - kStep;
    const double low = loss();
    z[i] = before;
    EXPECT_NEAR(dz[i], (high - low) / (2 * kStep), gradcheck_tolerance(kStep));
  }
}

TEST(BceLoss, RefusesAnEmptyBatchAndShowsNan) {
  cpu::ThreadPool pool(1);
  float z = std::nanf(""), t = 1, loss = 0, dz = 0;
  EXPECT_THROW(cpu::bce_forward<float>({pool}, 0, &z, &t, &loss), ShapeError);
  EXPECT_THROW(cpu::bce_backward<float>({pool}, 0, &z, &t, &dz), ShapeError);
  cpu::bce_forward<float>({pool}, 1, &z, &t, &loss);
  cpu::bce_backward<float>({pool}, 1, &z, &t, &dz);
  EXPECT_TRUE(std::isnan(loss));
  EXPECT_TRUE(std::isnan(dz));
}

}  // namespace
}  // namespace dfengine::test
