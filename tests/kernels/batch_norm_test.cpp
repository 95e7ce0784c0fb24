// Batch norm: PyTorch goldens, central differences, float against double on every instruction set,
// accuracy far from zero, and bitwise equality for any number of threads.
#include "kernels/batch_norm.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/kernels/kernel_golden.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

template <class T, class U>
void expect_same_gradients(const BatchNormBackward<T>& got, const BatchNormBackward<U>& want,
                           const Magnitudes& size, Index m) {
  const double terms = static_cast<double>(m);
  expect_all_near(got.dgamma, want.dgamma, tolerance<T>(terms, size.dgamma), "dgamma");
  expect_all_near(got.dbeta, want.dbeta, tolerance<T>(terms, size.dbeta), "dbeta");
  expect_all_near(got.dx, want.dx, tolerance<T>(terms, size.dx), "dx");
}

template <class T>
void expect_golden(const nlohmann::json& golden) {
  const std::string name = golden.at("activation");
  SCOPED_TRACE(name);
  const bool training = golden.at("training");
  const Activation act = name == "none"   ? Activation::None
                         : name == "relu" ? Activation::Relu
                                          : Activation::Relu6;
  const auto values = [&](const char* key) { return golden_values<T>(golden, key); };
  const BatchNormCase<T> d = {
      .p = BatchNormProblem::make(golden.at("m"), golden.at("c"), golden.at("eps"),
                                  golden.at("momentum"), act),
      .x = values("x"),
      .dy = values("dy"),
      .gamma = values("gamma"),
      .beta = values("beta"),
      .mean_in = values("running_mean_in"),
      .var_in = values("running_var_in")};
  const double terms = static_cast<double>(d.p.m);
  BatchNormForward<T> out;
  if (training) {
    out = forward(d);
    const double mean_size = largest(d.x), var_size = mean_size * mean_size;
    expect_all_near(out.running_mean, golden_values<double>(golden, "running_mean"),
                    tolerance<T>(terms, mean_size), "running_mean");
    expect_all_near(out.running_var, golden_values<double>(golden, "running_var"),
                    tolerance<T>(terms, var_size), "running_var");
  } else {
    out.y = frozen_forward(d);
    out.mean = d.mean_in;
    for (T v : d.var_in) out.rstd.push_back(1 / std::sqrt(v + static_cast<T>(d.p.eps)));
  }
  const Magnitudes size = magnitudes(d.template as<double>(), widen(out.mean), widen(out.rstd));
  expect_all_near(out.y, golden_values<double>(golden, "y"), tolerance<T>(terms, size.y), "y");
  const auto got = training ? backward(d, Form::Batch, out.mean, out.rstd)
                            : backward(d, Form::Frozen, d.mean_in, d.var_in);
  const BatchNormBackward<double> want = {golden_values<double>(golden, "dgamma"),
                                          golden_values<double>(golden, "dbeta"),
                                          golden_values<double>(golden, "dx")};
  expect_same_gradients(got, want, size, d.p.m);
}

TEST(BatchNorm, EqualsPyTorch) {
  for (const nlohmann::json& golden : kernel_golden("batch_norm")) {
    expect_golden<double>(golden);
    for_each_isa([&] { expect_golden<float>(golden); });
  }
}

// The float kernels of the instruction set in use against what double gave.
void expect_float_gradients(const BatchNormCase<float>& d, Form form,
                            const std::vector<float>& mean, const std::vector<float>& spread,
                            Write write, const BatchNormBackward<double>& want,
                            const Magnitudes& size) {
  const auto got = backward(d, form, mean, spread, write);
  expect_same_gradients(got, want, size, d.p.m);
  const auto no_dx = backward(d, form, mean, spread, write, 1, false);
  EXPECT_EQ(no_dx.dgamma, got.dgamma);
  EXPECT_EQ(no_dx.dbeta, got.dbeta);
  EXPECT_EQ(no_dx.dx, d.dy);
}

void expect_float_statistics(const BatchNormForward<float>& got,
                             const BatchNormForward<double>& want, double terms, double x_size) {
  expect_all_near(got.mean, want.mean, tolerance<float>(terms, x_size), "mean");
  expect_all_near(got.rstd, want.rstd, tolerance<float>(terms, largest(want.rstd)), "rstd");
  expect_all_near(got.running_mean, want.running_mean, tolerance<float>(terms, x_size),
                  "running_mean");
  expect_all_near(got.running_var, want.running_var, tolerance<float>(terms, x_size * x_size),
                  "running_var");
}

void expect_float_equals_double(Index m, Index c, Activation act) {
  SCOPED_TRACE(testing::Message() << "M " << m << " C " << c << " act " << int(act));
  const double terms = static_cast<double>(m);
  auto exact = BatchNormCase<double>::random(m, c, act, 11);
  const auto want = forward(exact);
  const double margin = tolerance<float>(terms, magnitudes(exact, want.mean, want.rstd).y);
  exact.clear_gradient_near_kinks(want.mean, want.rstd, margin);
  const Magnitudes size = magnitudes(exact, want.mean, want.rstd);
  const auto narrow = exact.as<float>();
  // Both backwards start from the same statistics, rounded to float.
  const std::vector<float> mean(want.mean.begin(), want.mean.end());
  const std::vector<float> rstd(want.rstd.begin(), want.rstd.end());
  for (Write write : {Write::Overwrite, Write::Accumulate}) {
    const auto gradients = backward(exact, Form::Batch, widen(mean), widen(rstd), write);
    for_each_isa(
        [&] { expect_float_gradients(narrow, Form::Batch, mean, rstd, write, gradients, size); });
  }
  for_each_isa([&] {
    const auto got = forward(narrow);
    expect_all_near(got.y, want.y, margin, "y");
    expect_float_statistics(got, want, terms, largest(exact.x));
  });
}

void expect_frozen_float_equals_double(Index m, Index c, Activation act) {
  SCOPED_TRACE(testing::Message() << "frozen, M " << m << " C " << c << " act " << int(act));
  auto exact = BatchNormCase<double>::random(m, c, act, 12);
  const auto rstd = rstd_of(exact.var_in, exact.p.eps);
  const double margin =
      tolerance<float>(static_cast<double>(m), magnitudes(exact, exact.mean_in, rstd).y);
  exact.clear_gradient_near_kinks(exact.mean_in, rstd, margin);
  const Magnitudes size = magnitudes(exact, exact.mean_in, rstd);
  const auto narrow = exact.as<float>();
  const auto want = frozen_forward(exact);
  for_each_isa([&] { expect_all_near(frozen_forward(narrow), want, margin, "y"); });
  for (Write write : {Write::Overwrite, Write::Accumulate}) {
    const auto gradients = backward(exact, Form::Frozen, exact.mean_in, exact.var_in, write);
    for_each_isa([&] {
      expect_float_gradients(narrow, Form::Frozen, narrow.mean_in, narrow.var_in, write, gradients,
                             size);
    });
  }
}

TEST(BatchNorm, FloatEqualsDouble) {
  for (Activation act : kActivations) {
    for (Index m : {2, 3, 7, 64, 1000}) {
      for (Index c : {1, 3, 8, 16, 24, 33, 96}) {
        expect_float_equals_double(m, c, act);
        expect_frozen_float_equals_double(m, c, act);
      }
    }
  }
  // More rows and channels than one task of the frozen form, or of the merge, takes.
  expect_float_equals_double(300, 290, Activation::Relu6);
  expect_frozen_float_equals_double(300, 290, Activation::Relu6);
}

// d/dv of the sum of dy * y, by central differences in v = x, gamma and beta.
void expect_gradients(Form form, Activation act) {
  SCOPED_TRACE(testing::Message() << "form " << int(form) << " act " << int(act));
  constexpr double kStep = 1e-5;
  auto d = BatchNormCase<double>::random(7, 5, act, 21);
  const auto out = forward(d);
  const auto rstd = form == Form::Batch ? out.rstd : rstd_of(d.var_in, d.p.eps);
  const auto& mean = form == Form::Batch ? out.mean : d.mean_in;
  const double magnitude = magnitudes(d, mean, rstd).y * static_cast<double>(d.x.size());
  d.clear_gradient_near_kinks(mean, rstd, 100 * kStep);
  const auto loss = [&] {
    const auto y = form == Form::Batch ? forward(d).y : frozen_forward(d);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += d.dy[i] * y[i];
    return sum;
  };
  const auto got = backward(d, form, mean, form == Form::Batch ? rstd : d.var_in);
  const auto check = [&](std::vector<double>& v, const std::vector<double>& gradient) {
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
    expect_gradients(Form::Batch, act);
    expect_gradients(Form::Frozen, act);
  }
}

// Mean 1000, standard deviation 1: the variance must keep its digits (a sum of squares would lose
// six of seven), and y errs no more than x and the saved mean were rounded.
TEST(BatchNorm, StatisticsKeepTheirDigitsFarFromZero) {
  auto exact = BatchNormCase<double>::random(20000, 16, Activation::None, 31);
  Random random(32, RandomStream::Init, 0);
  for (double& v : exact.x) v = static_cast<float>(1000 + random.normal());
  const auto want = forward(exact);
  const double y_size = magnitudes(exact, want.mean, want.rstd).y;
  for_each_isa([&] {
    const auto got = forward(exact.as<float>());
    expect_all_near(got.mean, want.mean, tolerance<float, double>(20000, 1000, 1), "mean");
    expect_all_near(got.rstd, want.rstd, tolerance<float>(20000, 1, 1), "rstd");
    expect_all_near(got.y, want.y, tolerance<float, double>(20000, y_size), "y");
  });
}

TEST(BatchNorm, SameBitsForAnyThreads) {
  for_each_isa([] {
    const auto d = BatchNormCase<float>::random(5001, 24, Activation::Relu6, 41);
    ASSERT_GT(cpu::batch_norm_scratch(d.p), 10 * d.p.c) << "one chunk proves nothing";
    const auto one = forward(d, 1);
    const auto frozen = frozen_forward(d, 1);
    const auto dx = backward(d, Form::Batch, one.mean, one.rstd);
    const auto frozen_dx = backward(d, Form::Frozen, d.mean_in, d.var_in);
    for (int threads : {2, 3}) {
      const auto many = forward(d, threads);
      EXPECT_EQ(many.y, one.y);
      EXPECT_EQ(many.mean, one.mean);
      EXPECT_EQ(many.rstd, one.rstd);
      EXPECT_EQ(many.running_var, one.running_var);
      EXPECT_EQ(frozen_forward(d, threads), frozen);
      const auto b = backward(d, Form::Batch, one.mean, one.rstd, Write::Overwrite, threads);
      EXPECT_EQ(b.dx, dx.dx);
      EXPECT_EQ(b.dgamma, dx.dgamma);
      const auto f = backward(d, Form::Frozen, d.mean_in, d.var_in, Write::Overwrite, threads);
      EXPECT_EQ(f.dx, frozen_dx.dx);
      EXPECT_EQ(f.dgamma, frozen_dx.dgamma);
    }
  });
}

// Large results on aligned addresses are stored past the caches, others are not: the same bits.
TEST(BatchNorm, SameBitsForLargeResultsOnAnyAddress) {
  const auto d = BatchNormCase<float>::random(300, 16, Activation::Relu6, 42);
  constexpr Index kRows = 262'200, kLine = 16;
  const auto p = BatchNormProblem::make(kRows, 16, 1e-3, 0.1, Activation::Relu6);
  std::vector<float> x(kRows * 16), storage(x.size() + 2 * kLine), scratch(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = d.x[i * 7 % d.x.size()];
  cpu::ThreadPool pool(2);
  const auto results = [&](Index offset) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    float* y = storage.data() + (kLine - static_cast<Index>(address / 4) % kLine) + offset;
    std::vector<float> all;
    const auto keep = [&] { all.insert(all.end(), y, y + x.size()); };
    std::vector<float> mean = d.mean_in, var = d.var_in, rstd = mean, g = mean;
    cpu::batch_norm_forward<float>({pool}, p, x.data(), d.gamma.data(), d.beta.data(), mean.data(),
                                   var.data(), scratch.data(), g.data(), rstd.data(), y);
    keep();
    cpu::batch_norm_backward<float>({pool}, p, x.data(), x.data(), d.gamma.data(), d.beta.data(),
                                    mean.data(), rstd.data(), scratch.data(), Write::Overwrite,
                                    g.data(), g.data(), y);
    keep();
    cpu::batch_norm_frozen_forward<float>({pool}, p, x.data(), d.gamma.data(), d.beta.data(),
                                          mean.data(), var.data(), y);
    keep();
    return all;
  };
  EXPECT_TRUE(results(0) == results(1));
}

TEST(BatchNorm, NanIsNotHidden) {
  for (Activation act : kActivations) {
    auto d = BatchNormCase<float>::random(9, 24, act, 51);
    d.x[5] = std::nanf("");
    for_each_isa([&] {
      EXPECT_TRUE(std::isnan(frozen_forward(d)[5]));
      EXPECT_TRUE(std::isnan(forward(d).y[24 + 5]));
      EXPECT_FALSE(std::isnan(forward(d).y[24 + 6]));
    });
    EXPECT_TRUE(std::isnan(frozen_forward(d.as<double>())[5]));
  }
}

TEST(BatchNorm, RefusesOneRowAndEmptyShapes) {
  const auto d = BatchNormCase<float>::random(1, 3, Activation::None, 61);
  EXPECT_THROW(forward(d), ShapeError);
  EXPECT_THROW(forward(d.as<double>()), ShapeError);
  EXPECT_NO_THROW(frozen_forward(d));
  EXPECT_THROW(BatchNormProblem::make(0, 3, 1e-5, 0.1, Activation::None), ShapeError);
  EXPECT_THROW(BatchNormProblem::make(3, -1, 1e-5, 0.1, Activation::None), ShapeError);
}

}  // namespace
}  // namespace dfengine::test
