// Batch norm on the device against the double oracle, fed the numbers as the device stores them.
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

// The case as storage type T holds it; statistics and parameters are float.
template <class T>
BatchNormCase<double> stored_case(Index m, Index c, Activation act, std::uint64_t seed) {
  BatchNormCase<double> d = BatchNormCase<double>::random(m, c, act, seed);
  d.x = as_stored<T>(d.x);
  d.dy = as_stored<T>(d.dy);
  return d;
}

template <class T>
struct Device {
  explicit Device(const BatchNormCase<double>& d)
      : x(d.x),
        y(static_cast<Index>(d.x.size())),
        dy(d.dy),
        gamma(d.gamma),
        beta(d.beta),
        mean_in(d.mean_in),
        var_in(d.var_in),
        next_mean(d.p.c),
        next_var(d.p.c),
        saved_mean(d.p.c),
        saved_rstd(d.p.c),
        dgamma(d.p.c),
        dbeta(d.p.c),
        scratch(cuda::batch_norm_scratch(d.p)) {}

  DeviceArray<T> x, y, dy;
  DeviceArray<float> gamma, beta, mean_in, var_in, next_mean, next_var, saved_mean, saved_rstd,
      dgamma, dbeta, scratch;
};

// Values near a kink may fall on either side of it in float.
double kink_margin(const Magnitudes& size, double terms) {
  return 2 * tolerance<float>(terms, size.y);
}

template <class T>
void check_gradients(Device<T>& on, const BatchNormBackward<double>& want, const Magnitudes& size,
                     double terms) {
  const auto sized = [](const std::vector<double>& v, double magnitude) {
    return std::vector<double>(v.size(), magnitude);
  };
  expect_device_close<float>(on.dgamma.values(), want.dgamma, terms,
                             sized(want.dgamma, size.dgamma), "dgamma");
  expect_device_close<float>(on.dbeta.values(), want.dbeta, terms, sized(want.dbeta, size.dbeta),
                             "dbeta");
  on.scratch.values();
  expect_device_close<T>(on.dy.values(), want.dx, terms, sized(want.dx, size.dx), "dx in dy");
}

template <class T>
void check_batch_form(Index m, Index c, Activation act) {
  SCOPED_TRACE(testing::Message() << "[" << m << ", " << c << "]");
  BatchNormCase<double> d = stored_case<T>(m, c, act, 7);
  const auto want = forward(d);
  const Magnitudes size = magnitudes(d, want.mean, want.rstd);
  const double terms = static_cast<double>(m);
  d.clear_gradient_near_kinks(want.mean, want.rstd, kink_margin(size, terms));
  Device<T> on(d);
  cuda::batch_norm_forward<T>(nullptr, d.p, on.x.data(), on.gamma.data(), on.beta.data(),
                              on.mean_in.data(), on.var_in.data(), on.next_mean.data(),
                              on.next_var.data(), on.scratch.data(), on.saved_mean.data(),
                              on.saved_rstd.data(), on.y.data());
  const double x_size = largest(d.x) * 2;
  const auto of = [&](double magnitude) { return std::vector<double>(size_t(c), magnitude); };
  expect_device_close<float>(on.saved_mean.values(), want.mean, terms, of(x_size), "mean");
  expect_device_close<float>(on.next_mean.values(), want.running_mean, terms, of(x_size),
                             "next mean");
  expect_device_close<float>(on.next_var.values(), want.running_var, terms, of(x_size * x_size),
                             "next variance");
  expect_device_close<T>(on.y.values(), want.y, terms, std::vector<double>(d.x.size(), size.y),
                         "y");

  const auto gradients = backward(d, Form::Batch, want.mean, want.rstd);
  cuda::batch_norm_backward<T>(nullptr, d.p, on.x.data(), on.dy.data(), on.gamma.data(),
                               on.beta.data(), on.saved_mean.data(), on.saved_rstd.data(),
                               on.scratch.data(), on.dgamma.data(), on.dbeta.data(), on.dy.data());
  check_gradients(on, gradients, size, terms);
}

template <class T>
void check_frozen_form(Index m, Index c, Activation act) {
  SCOPED_TRACE(testing::Message() << "[" << m << ", " << c << "]");
  BatchNormCase<double> d = stored_case<T>(m, c, act, 8);
  const auto rstd = rstd_of(d.var_in, d.p.eps);
  const Magnitudes size = magnitudes(d, d.mean_in, rstd);
  const double terms = static_cast<double>(m);
  d.clear_gradient_near_kinks(d.mean_in, rstd, kink_margin(size, terms));
  Device<T> on(d);
  cuda::batch_norm_frozen_forward<T>(nullptr, d.p, on.x.data(), on.gamma.data(), on.beta.data(),
                                     on.mean_in.data(), on.var_in.data(), on.y.data());
  expect_device_close<T>(on.y.values(), frozen_forward(d), 4,
                         std::vector<double>(d.x.size(), size.y), "y");
  cuda::batch_norm_frozen_backward<T>(
      nullptr, d.p, on.x.data(), on.dy.data(), on.gamma.data(), on.beta.data(), on.mean_in.data(),
      on.var_in.data(), on.scratch.data(), on.dgamma.data(), on.dbeta.data(), on.dy.data());
  check_gradients(on, backward(d, Form::Frozen, d.mean_in, d.var_in), size, terms);
}

// One row per lane and less, several chunks, several blocks of channels.
TEST(BatchNormDevice, EqualsDouble) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Activation act : kActivations) {
      check_batch_form<Half>(98, 24, act);
      check_frozen_form<Half>(98, 24, act);
    }
    check_batch_form<BFloat16>(33, 96, Activation::Relu6);
    check_frozen_form<BFloat16>(33, 96, Activation::Relu6);
    check_batch_form<float>(2, 8, Activation::Relu6);
    check_batch_form<float>(5001, 16, Activation::Relu6);
    check_batch_form<float>(49, 1280, Activation::Relu6);
    check_frozen_form<float>(1, 264, Activation::None);
  });
}

// Statistics of values whose mean is large against their deviation.
TEST(BatchNormDevice, LargeMeanKeepsTheVariance) {
  DF_NEEDS_DEVICE();
  BatchNormCase<double> d = BatchNormCase<double>::random(3000, 8, Activation::None, 9);
  for (double& x : d.x) x = static_cast<float>(1000 + 0.01 * x);
  const auto want = forward(d);
  Device<float> on(d);
  cuda::batch_norm_forward<float>(nullptr, d.p, on.x.data(), on.gamma.data(), on.beta.data(),
                                  on.mean_in.data(), on.var_in.data(), on.next_mean.data(),
                                  on.next_var.data(), on.scratch.data(), on.saved_mean.data(),
                                  on.saved_rstd.data(), on.y.data());
  const auto rstd = on.saved_rstd.values();
  for (std::size_t c = 0; c < rstd.size(); ++c)
    EXPECT_NEAR(rstd[c] / want.rstd[c], 1, tolerance<float>(3000, 1));
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
