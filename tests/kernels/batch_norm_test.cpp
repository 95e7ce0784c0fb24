// Batch norm: the CPU's double kernels against PyTorch's goldens and central differences, every
// other target against those, and accuracy far from zero.
#include "kernels/batch_norm.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/kernels/kernel_golden.h"

namespace dfengine::test {
namespace {

const Cpu<double> kOracle;

// Near what is wanted, of this magnitude, as Target sums and T stores.
template <class Target, class T>
void expect_sums(const Doubles& got, const Doubles& want, double terms, double magnitude,
                 const char* what) {
  expect_all_near(got, want, tolerance<T, typename Target::Sum>(terms, magnitude), what);
}

template <class Target>
void expect_gradients(const BatchNormBackward& got, const BatchNormBackward& want,
                      const Magnitudes& size, Index m) {
  using Sum = typename Target::Sum;
  const double terms = static_cast<double>(m);
  expect_sums<Target, Sum>(got.dgamma, want.dgamma, terms, size.dgamma, "dgamma");
  expect_sums<Target, Sum>(got.dbeta, want.dbeta, terms, size.dbeta, "dbeta");
  expect_sums<Target, typename Target::Value>(got.dx, want.dx, terms, size.dx, "dx");
}

// ---- The oracle ---------------------------------------------------------------------------------

template <class Target>
void expect_golden(const nlohmann::json& golden) {
  using T = typename Target::Value;
  const std::string name = golden.at("activation");
  SCOPED_TRACE(name);
  const bool training = golden.at("training");
  const Activation act = name == "none"   ? Activation::None
                         : name == "relu" ? Activation::Relu
                                          : Activation::Relu6;
  const auto values = [&](const char* key) { return golden_values<double>(golden, key); };
  const BatchNormCase d = {
      .p = BatchNormProblem::make(golden.at("m"), golden.at("c"), golden.at("eps"),
                                  golden.at("momentum"), act),
      .x = values("x"),
      .dy = values("dy"),
      .gamma = values("gamma"),
      .beta = values("beta"),
      .mean_in = values("running_mean_in"),
      .var_in = values("running_var_in")};
  const double terms = static_cast<double>(d.p.m);
  BatchNormForward out;
  if (training) {
    out = forward(Target{}, d);
    const double mean_size = largest(d.x), var_size = mean_size * mean_size;
    expect_all_near(out.next_mean, values("running_mean"), tolerance<T>(terms, mean_size),
                    "running_mean");
    expect_all_near(out.next_var, values("running_var"), tolerance<T>(terms, var_size),
                    "running_var");
  } else {
    out.y = frozen_forward(Target{}, d);
    out.mean = d.mean_in;
    out.rstd = rstd_of(d.var_in, d.p.eps);
  }
  const Magnitudes size = magnitudes(d, out.mean, out.rstd);
  expect_all_near(out.y, values("y"), tolerance<T>(terms, size.y), "y");
  const auto got = training ? backward(Target{}, d, Form::Batch, out.mean, out.rstd)
                            : backward(Target{}, d, Form::Frozen, d.mean_in, d.var_in);
  expect_gradients<Target>(got, {values("dgamma"), values("dbeta"), values("dx")}, size, d.p.m);
}

TEST(BatchNorm, EqualsPyTorch) {
  for (const nlohmann::json& golden : kernel_golden("batch_norm")) {
    expect_golden<Cpu<double>>(golden);
    for_each_isa([&] { expect_golden<Cpu<float>>(golden); });
  }
}

// d/dv of the sum of dy * y, by central differences in v = x, gamma and beta.
void expect_differences(Form form, Activation act) {
  SCOPED_TRACE(testing::Message() << "form " << int(form) << " act " << int(act));
  constexpr double kStep = 1e-5;
  auto d = BatchNormCase::random(7, 5, act, 21);
  const auto out = forward(kOracle, d);
  const auto rstd = form == Form::Batch ? out.rstd : rstd_of(d.var_in, d.p.eps);
  const auto& mean = form == Form::Batch ? out.mean : d.mean_in;
  const double magnitude = magnitudes(d, mean, rstd).y * static_cast<double>(d.x.size());
  d.clear_gradient_near_kinks(mean, rstd, 100 * kStep);
  const auto loss = [&] {
    const auto y = form == Form::Batch ? forward(kOracle, d).y : frozen_forward(kOracle, d);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += d.dy[i] * y[i];
    return sum;
  };
  const auto got = backward(kOracle, d, form, mean, form == Form::Batch ? rstd : d.var_in);
  const auto check = [&](Doubles& v, const Doubles& gradient) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double before = v[i];
      v[i] = before + kStep;
      const double high = loss();
      v[i] = before - kStep;
      const double low = loss();
      v[i] = before;
      EXPECT_NEAR(gradient[i], (high - low) / (2 * kStep), gradcheck_tolerance(kStep) * magnitude);
    }
  };
  check(d.x, got.dx);
  check(d.gamma, got.dgamma);
  check(d.beta, got.dbeta);
}

TEST(BatchNorm, GradientsEqualCentralDifferences) {
  for (Activation act : kActivations) {
    expect_differences(Form::Batch, act);
    expect_differences(Form::Frozen, act);
  }
}

// ---- The matrix ---------------------------------------------------------------------------------

template <class Target>
class BatchNorm : public OnTarget<Target> {};
TYPED_TEST_SUITE(BatchNorm, RoundingTargets, TargetNames);

// The case as the target holds it.
template <class Target>
BatchNormCase stored_case(Index m, Index c, Activation act, std::uint64_t seed) {
  BatchNormCase d = BatchNormCase::random(m, c, act, seed);
  d.x = as_stored<typename Target::Value>(d.x);
  d.dy = as_stored<typename Target::Value>(d.dy);
  return d;
}

// How far rounding may move a value that a kink decides about.
template <class Target>
double kink_margin(const BatchNormCase& d, const Doubles& mean, const Doubles& rstd) {
  return 2 *
         tolerance<typename Target::Sum>(static_cast<double>(d.p.m), magnitudes(d, mean, rstd).y);
}

// Both gradients, with and without dx, the same bits for every schedule.
template <class Target>
void check_backward(const BatchNormCase& d, Form form, const Doubles& mean, const Doubles& spread,
                    const Magnitudes& size) {
  const auto want = backward(kOracle, d, form, mean, spread);
  for_each_code<Target>([&] {
    const auto got = same_for_every_schedule<Target>(
        [&](const Target& on) { return backward(on, d, form, mean, spread); });
    expect_gradients<Target>(got, want, size, d.p.m);
    const auto no_dx = backward(Target{}, d, form, mean, spread, false);
    EXPECT_TRUE(no_dx == (BatchNormBackward{got.dgamma, got.dbeta, d.dy})) << "without dx";
  });
}

template <class Target>
void check_batch_form(Index m, Index c, Activation act) {
  using Sum = typename Target::Sum;
  SCOPED_TRACE(testing::Message() << "[" << m << ", " << c << "] act " << int(act));
  BatchNormCase d = stored_case<Target>(m, c, act, 11);
  const double terms = static_cast<double>(m), x_size = largest(d.x);
  const auto want = forward(kOracle, d);
  const Magnitudes size = magnitudes(d, want.mean, want.rstd);
  for_each_code<Target>([&] {
    const auto got =
        same_for_every_schedule<Target>([&](const Target& on) { return forward(on, d); });
    expect_sums<Target, typename Target::Value>(got.y, want.y, terms, size.y, "y");
    expect_sums<Target, Sum>(got.mean, want.mean, terms, x_size, "mean");
    expect_sums<Target, Sum>(got.rstd, want.rstd, terms, largest(want.rstd), "rstd");
    expect_sums<Target, Sum>(got.next_mean, want.next_mean, terms, x_size, "running mean");
    expect_sums<Target, Sum>(got.next_var, want.next_var, terms, x_size * x_size, "running var");
  });
  // All backwards start from the same statistics.
  const Doubles mean = as_stored<Sum>(want.mean), rstd = as_stored<Sum>(want.rstd);
  d.clear_gradient_near_kinks(mean, rstd, kink_margin<Target>(d, mean, rstd));
  check_backward<Target>(d, Form::Batch, mean, rstd, magnitudes(d, mean, rstd));
}

template <class Target>
void check_frozen_form(Index m, Index c, Activation act) {
  SCOPED_TRACE(testing::Message() << "frozen, [" << m << ", " << c << "] act " << int(act));
  BatchNormCase d = stored_case<Target>(m, c, act, 12);
  const Doubles rstd = rstd_of(d.var_in, d.p.eps);
  const Magnitudes size = magnitudes(d, d.mean_in, rstd);
  const Doubles want = frozen_forward(kOracle, d);
  for_each_code<Target>([&] {
    const Doubles got =
        same_for_every_schedule<Target>([&](const Target& on) { return frozen_forward(on, d); });
    expect_sums<Target, typename Target::Value>(got, want, 4, size.y, "y");
  });
  d.clear_gradient_near_kinks(d.mean_in, rstd, kink_margin<Target>(d, d.mean_in, rstd));
  check_backward<Target>(d, Form::Frozen, d.mean_in, d.var_in, magnitudes(d, d.mean_in, rstd));
}

template <class Target>
bool takes(Index c) {
  return !Target::kOnDevice || c % 8 == 0;
}

template <class Target>
void check_both(Index m, Index c, Activation act) {
  if (!takes<Target>(c)) return;
  check_batch_form<Target>(m, c, act);
  check_frozen_form<Target>(m, c, act);
}

TYPED_TEST(BatchNorm, EqualsDouble) {
  for (Activation act : kActivations) {
    // One row per lane and less, tails, several blocks of channels.
    for (const auto& [m, c] : {std::pair<Index, Index>{2, 8}, {98, 24}, {33, 96}, {7, 33}})
      check_both<TypeParam>(m, c, act);
    check_frozen_form<TypeParam>(1, 264, act);
  }
  // More rows, and more channels, than one block or task takes.
  check_both<TypeParam>(5001, 24, Activation::Relu6);
  check_both<TypeParam>(300, 290, Activation::Relu6);
  check_batch_form<TypeParam>(49, 1280, Activation::Relu6);
}

// The stand-in for a GPU takes some of them.
TYPED_TEST(BatchNorm, EverySmallSizeEqualsDouble) {
  const int step = TypeParam::kOnDevice && cuda::is_emulated() ? 11 : 1;
  int taken = 0;
  for (Activation act : kActivations)
    for (Index m : {2, 3, 7, 64, 1000})
      for (Index c : {1, 3, 8, 16, 24, 33, 96})
        if (takes<TypeParam>(c) && taken++ % step == 0) check_both<TypeParam>(m, c, act);
}

TYPED_TEST(BatchNorm, NanIsNotHidden) {
  for (Activation act : kActivations) {
    BatchNormCase d = stored_case<TypeParam>(9, 24, act, 51);
    d.x[5] = std::nan("");
    for_each_code<TypeParam>([&] {
      EXPECT_TRUE(std::isnan(frozen_forward(TypeParam{}, d)[5]));
      const Doubles y = forward(TypeParam{}, d).y;
      EXPECT_TRUE(std::isnan(y[24 + 5]));
      EXPECT_FALSE(std::isnan(y[24 + 6]));
    });
  }
}

// ---- Far from zero ------------------------------------------------------------------------------

template <class Target>
class BatchNormFloat : public OnTarget<Target> {};
TYPED_TEST_SUITE(BatchNormFloat, FloatTargets, TargetNames);

// Statistics of values whose mean is large against their deviation: a sum of squares would lose six
// of seven digits.
TYPED_TEST(BatchNormFloat, LargeMeanKeepsTheVariance) {
  BatchNormCase d = BatchNormCase::random(3000, 8, Activation::None, 9);
  for (double& x : d.x) x = static_cast<float>(1000 + 0.01 * x);
  const auto want = forward(kOracle, d);
  for_each_code<TypeParam>([&] {
    const Doubles rstd = forward(TypeParam{}, d).rstd;
    for (std::size_t c = 0; c < rstd.size(); ++c)
      EXPECT_NEAR(rstd[c] / want.rstd[c], 1, tolerance<float>(3000, 1));
  });
}

// The CPU sums in double: y errs no more than x and the saved mean were rounded.
TEST(BatchNorm, StatisticsKeepTheirDigitsFarFromZero) {
  auto d = BatchNormCase::random(20000, 16, Activation::None, 31);
  Random random(32, RandomStream::Init, 0);
  for (double& v : d.x) v = static_cast<float>(1000 + random.normal());
  const auto want = forward(kOracle, d);
  const double y_size = magnitudes(d, want.mean, want.rstd).y;
  for_each_isa([&] {
    const auto got = forward(Cpu<float>{}, d);
    expect_all_near(got.mean, want.mean, tolerance<float, double>(20000, 1000, 1), "mean");
    expect_all_near(got.rstd, want.rstd, tolerance<float>(20000, 1, 1), "rstd");
    expect_all_near(got.y, want.y, tolerance<float, double>(20000, y_size), "y");
  });
}

// ---- One target's own ---------------------------------------------------------------------------

// Large results on aligned addresses are stored past the caches, others are not: the same bits.
TEST(BatchNorm, SameBitsForLargeResultsOnAnyAddress) {
  const auto d = BatchNormCase::random(300, 16, Activation::Relu6, 42);
  const auto gamma = converted<float>(d.gamma), beta = converted<float>(d.beta);
  constexpr Index kRows = 262'200, kLine = 16;
  const auto p = BatchNormProblem::make(kRows, 16, 1e-3, 0.1, Activation::Relu6);
  std::vector<float> x(kRows * 16), storage(x.size() + 2 * kLine), scratch(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(d.x[i * 7 % d.x.size()]);
  ThreadPool pool(2);
  const auto results = [&](Index offset) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    float* y = storage.data() + (kLine - static_cast<Index>(address / 4) % kLine) + offset;
    std::vector<float> all;
    const auto keep = [&] { all.insert(all.end(), y, y + x.size()); };
    auto mean = converted<float>(d.mean_in), var = converted<float>(d.var_in), rstd = mean,
         g = mean, next_mean = mean, next_var = mean;
    cpu::batch_norm_forward<float>({pool}, p, x.data(), gamma.data(), beta.data(), mean.data(),
                                   var.data(), next_mean.data(), next_var.data(), scratch.data(),
                                   g.data(), rstd.data(), y);
    keep();
    cpu::batch_norm_backward<float>({pool}, p, x.data(), x.data(), gamma.data(), beta.data(),
                                    mean.data(), rstd.data(), scratch.data(), g.data(), g.data(),
                                    y);
    keep();
    cpu::batch_norm_frozen_forward<float>({pool}, p, x.data(), gamma.data(), beta.data(),
                                          mean.data(), var.data(), y);
    keep();
    return all;
  };
  EXPECT_TRUE(results(0) == results(1));
}

TEST(BatchNorm, RefusesOneRowAndEmptyShapes) {
  const auto d = BatchNormCase::random(1, 3, Activation::None, 61);
  EXPECT_THROW(forward(Cpu<float>{}, d), ShapeError);
  EXPECT_THROW(forward(Cpu<double>{}, d), ShapeError);
  EXPECT_NO_THROW(frozen_forward(Cpu<float>{}, d));
  EXPECT_THROW(BatchNormProblem::make(0, 3, 1e-5, 0.1, Activation::None), ShapeError);
  EXPECT_THROW(BatchNormProblem::make(3, -1, 1e-5, 0.1, Activation::None), ShapeError);
}

TEST(BatchNormDevice, RefusesWhatItCannotDo) {
  const auto run = [](Index m, Index c, const float* x = nullptr) {
    const BatchNormProblem p = BatchNormProblem::make(m, c, 1e-3, 0.1, Activation::None);
    cuda::batch_norm_forward<float>(nullptr, p, x, nullptr, nullptr, nullptr, nullptr, nullptr,
                                    nullptr, nullptr, nullptr, nullptr, nullptr);
  };
  EXPECT_THROW(run(4, 12), ShapeError);
  EXPECT_THROW(run(1, 8), ShapeError);
  alignas(16) const float unaligned[1 + 32] = {};
  EXPECT_THROW(run(4, 8, unaligned + 1), ShapeError);
}

}  // namespace
}  // namespace dfengine::test
