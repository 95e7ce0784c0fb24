// Binary cross-entropy on every target: PyTorch golden, logits far out, NaN; central differences of
// the double kernels, which the others are compared with.
#include "kernels/bce_loss.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/kernels/kernel_data.h"
#include "tests/kernels/kernel_golden.h"

namespace dfengine::test {
namespace {

template <class T>
void forward(const Cpu<T>& on, Index n, const T* z, const T* t, T* loss,
             const BceWeights& weights = {}) {
  cpu::bce_forward<T>(on.context(), n, z, t, loss, weights);
}
template <class T>
void backward(const Cpu<T>& on, Index n, const T* z, const T* t, T* dz, float loss_scale = 1,
              const BceWeights& weights = {}) {
  const StepScalars scalars{.loss_scale = loss_scale};
  cpu::bce_backward<T>(on.context(), n, z, t, &scalars, dz, weights);
}

void forward(Device<float>, Index n, const float* z, const float* t, float* loss,
             const BceWeights& weights = {}) {
  cuda::bce_forward(nullptr, n, z, t, loss, weights);
}
void backward(Device<float>, Index n, const float* z, const float* t, float* dz,
              float loss_scale = 1, const BceWeights& weights = {}) {
  DeviceStructs<StepScalars> scalars(std::vector<StepScalars>{{.loss_scale = loss_scale}});
  cuda::bce_backward(nullptr, n, z, t, scalars.data(), dz, weights);
  cuda::synchronize(nullptr);
}

struct Results {
  double loss;
  Doubles dz;
};

template <class Target>
Results run(const Target& on, const Doubles& logits, const Doubles& targets,
            const BceWeights& weights = {}) {
  const auto n = static_cast<Index>(logits.size());
  ValuesOn<Target> z(logits), t(targets), loss(Index{1}), dz(n);
  forward(on, n, z.data(), t.data(), loss.data(), weights);
  backward(on, n, z.data(), t.data(), dz.data(), 1, weights);
  return {loss.values()[0], dz.values()};
}

template <class Target>
class BceLoss : public OnTarget<Target> {};
TYPED_TEST_SUITE(BceLoss, HeadTargets, TargetNames);

TYPED_TEST(BceLoss, EqualsPyTorch) {
  using T = typename TypeParam::Value;
  const auto golden = kernel_golden("bce");
  const auto z = golden_values<double>(golden, "logits");
  const Results got = run(TypeParam{}, z, golden_values<double>(golden, "targets"));
  const double want = golden.at("loss"), n = static_cast<double>(z.size());
  EXPECT_NEAR(got.loss, want, tolerance<T>(n, want));
  expect_all_near(got.dz, golden_values<double>(golden, "dlogits"), tolerance<T>(1, 1 / n),
                  "dlogits");
}

// The definition, from the probability: each class's term with its weight; targets between 0 and 1
// belong to both.
TYPED_TEST(BceLoss, WeighsEachClassesTerm) {
  using T = typename TypeParam::Value;
  const BceWeights weights{.real = 0.75, .fake = 3};
  const Doubles z = {-3, -0.5, 0, 0.25, 2, 5}, t = {0, 1, 0.25, 0.9, 1, 0};
  const auto n = static_cast<double>(z.size());
  double loss = 0;
  Doubles dz;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double p = 1 / (1 + std::exp(-z[i]));
    loss -= (weights.fake * t[i] * std::log(p) + weights.real * (1 - t[i]) * std::log(1 - p)) / n;
    dz.push_back((weights.real * (1 - t[i]) * p - weights.fake * t[i] * (1 - p)) / n);
  }
  const Results got = run(TypeParam{}, z, t, weights);
  EXPECT_NEAR(got.loss, loss, tolerance<T>(n, 3 * 5));
  expect_all_near(got.dz, dz, tolerance<T>(2, 2 * weights.fake / n), "dlogits");
}

TYPED_TEST(BceLoss, ShowsNanAndRefusesAnEmptyBatch) {
  EXPECT_THROW(run(TypeParam{}, {}, {}), ShapeError);
  ValuesOn<TypeParam> none(Index{1});
  EXPECT_THROW(backward(TypeParam{}, 0, none.data(), none.data(), none.data()), ShapeError);
  const Results got = run(TypeParam{}, {1, std::nan(""), 2}, {1, 1, 1});
  EXPECT_TRUE(std::isnan(got.loss));
  EXPECT_TRUE(std::isnan(got.dz[1]));
  EXPECT_FALSE(std::isnan(got.dz[0]));
}

TYPED_TEST(BceLoss, TheGradientHasTheLossScale) {
  for_each_schedule<TypeParam>([](const TypeParam& on) {
    for (Index n : {1, 3, 255, 600}) {
      ValuesOn<TypeParam> z(random_uniform<double>(n, 5, -90, 90)),
          t(random_integers<double>(n, 6, 0, 1)), plain(n), scaled(n);
      backward(on, n, z.data(), t.data(), plain.data());
      backward(on, n, z.data(), t.data(), scaled.data(), 1024);
      Doubles want = plain.values();
      for (double& g : want) g *= 1024;
      expect_close<TypeParam>(scaled.values(), want, 1,
                              Doubles(want.size(), 1024 / static_cast<double>(n)), "dz");
    }
  });
}

template <class Target>
class BceLossRounded : public OnTarget<Target> {};
TYPED_TEST_SUITE(BceLossRounded, FloatTargets, TargetNames);

TYPED_TEST(BceLossRounded, EqualsDoubleFarOut) {
  for (Index n : {1, 3, 255, 600}) {
    const auto z = random_uniform<double>(n, 5, -90, 90);
    const auto t = random_integers<double>(n, 6, 0, 1);
    const Results want = run(Cpu<double>{}, z, t);
    for_each_schedule<TypeParam>([&](const TypeParam& on) {
      const Results got = run(on, z, t);
      EXPECT_NEAR(got.loss, want.loss, tolerance<float>(static_cast<double>(n), 91));
      expect_all_near(got.dz, want.dz, tolerance<float>(4, 2.0 / static_cast<double>(n)), "dz");
    });
  }
}

TEST(BceLoss, GradientsEqualCentralDifferences) {
  constexpr double kStep = 1e-5;
  auto z = random_uniform<double>(11, 1, -4, 4);
  const auto t = random_integers<double>(11, 2, 0, 1);
  const Doubles dz = run(Cpu<double>{}, z, t).dz;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double before = z[i];
    z[i] = before + kStep;
    const double high = run(Cpu<double>{}, z, t).loss;
    z[i] = before - kStep;
    const double low = run(Cpu<double>{}, z, t).loss;
    z[i] = before;
    EXPECT_NEAR(dz[i], (high - low) / (2 * kStep), gradcheck_tolerance(kStep));
  }
}

}  // namespace
}  // namespace dfengine::test
