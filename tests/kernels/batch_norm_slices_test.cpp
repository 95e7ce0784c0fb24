// Batch norm of a batch in slices: sums of each, added, and the rest equal the batch form in
// double on all rows.
#include <gtest/gtest.h>

#include "tests/kernels/batch_norm_case.h"
#include "tests/support/targets.h"

namespace dfengine::test {
namespace {

const Cpu<double> kOracle;

// Rows [begin, begin + m) of a case.
BatchNormCase rows_of(const BatchNormCase& d, Index begin, Index m) {
  BatchNormCase part = d;
  part.p.m = m;
  const auto cut = [&](const Doubles& all) {
    return Doubles(all.begin() + begin * d.p.c, all.begin() + (begin + m) * d.p.c);
  };
  part.x = cut(d.x);
  part.dy = cut(d.dy);
  return part;
}

struct Both {
  BatchNormForward forward;
  BatchNormBackward backward;
};

// Forward and backward through slices of so many rows each. dgamma and dbeta are those of all.
template <class T>
Both in_slices(const Cpu<T>& on, const BatchNormCase& d, const std::vector<Index>& sizes,
               const Doubles& mean_at, const Doubles& rstd_at) {
  using Target = Cpu<T>;
  const Index c = d.p.c, all = d.p.m;
  Both out;
  out.backward.dgamma.resize(at(c));
  out.backward.dbeta.resize(at(c));
  SumsOn<Target> gamma(d.gamma), beta(d.beta), mean_in(d.mean_in), var_in(d.var_in),
      mean_then(mean_at), rstd_then(rstd_at);
  const auto each = [&](auto&& body) {
    Index begin = 0;
    for (const Index m : sizes) {
      body(rows_of(d, begin, m));
      begin += m;
    }
  };
  const auto append = [](Doubles& to, const Doubles& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  Doubles forward_sums(at(2 * c)), backward_sums(at(2 * c)), one(at(2 * c));
  each([&](const BatchNormCase& s) {
    ValuesOn<Target> x(s.x), dy(s.dy);
    SumsOn<Target> scratch(scratch_count(on, s.p)), dgamma(c), dbeta(c);
    cpu::batch_norm_forward_sums<T>(on.context(), s.p, x.data(), scratch.data(), one.data());
    for (std::size_t i = 0; i < one.size(); ++i) forward_sums[i] += one[i];
    cpu::batch_norm_backward_sums<T>(on.context(), s.p, x.data(), dy.data(), gamma.data(),
                                     beta.data(), mean_then.data(), rstd_then.data(),
                                     scratch.data(), dgamma.data(), dbeta.data(), one.data());
    for (std::size_t i = 0; i < one.size(); ++i) backward_sums[i] += one[i];
    for (std::size_t i = 0; i < at(c); ++i) {
      out.backward.dgamma[i] += dgamma.values()[i];
      out.backward.dbeta[i] += dbeta.values()[i];
    }
  });
  each([&](const BatchNormCase& s) {
    ValuesOn<Target> x(s.x), dy(s.dy), y(s.p.m * c);
    SumsOn<Target> scratch(scratch_count(on, s.p)), next_mean(c), next_var(c), mean(c), rstd(c);
    cpu::batch_norm_forward_rest<T>(on.context(), s.p, all, forward_sums.data(), x.data(),
                                    gamma.data(), beta.data(), mean_in.data(), var_in.data(),
                                    next_mean.data(), next_var.data(), scratch.data(), mean.data(),
                                    rstd.data(), y.data());
    append(out.forward.y, y.values());
    out.forward.mean = mean.values();
    out.forward.rstd = rstd.values();
    out.forward.next_mean = next_mean.values();
    out.forward.next_var = next_var.values();
    cpu::batch_norm_backward_rest<T>(on.context(), s.p, all, backward_sums.data(), x.data(),
                                     dy.data(), gamma.data(), beta.data(), mean_then.data(),
                                     rstd_then.data(), scratch.data(), dy.data());
    append(out.backward.dx, dy.values());
  });
  return out;
}

template <class Target>
class BatchNormSlices : public testing::Test {};
using CpuTargets = testing::Types<Cpu<double>, Cpu<float>>;
TYPED_TEST_SUITE(BatchNormSlices, CpuTargets, TargetNames);

template <class Target>
void check(const BatchNormCase& d, const std::vector<Index>& sizes) {
  using T = typename Target::Value;
  const double terms = static_cast<double>(d.p.m);
  const BatchNormForward want = forward(kOracle, d);
  const Magnitudes size = magnitudes(d, want.mean, want.rstd);
  const BatchNormBackward want_back = backward(kOracle, d, Form::Batch, want.mean, want.rstd);
  const double x_size = largest(d.x);
  for_each_code<Target>([&] {
    const Both got = in_slices(Target{}, d, sizes, want.mean, want.rstd);
    const auto near = [&](const Doubles& a, const Doubles& b, double magnitude, const char* what) {
      expect_all_near(a, b, tolerance<T>(terms, magnitude), what);
    };
    near(got.forward.y, want.y, size.y, "y");
    near(got.forward.mean, want.mean, x_size, "mean");
    near(got.forward.rstd, want.rstd, largest(want.rstd), "rstd");
    near(got.forward.next_mean, want.next_mean, x_size, "running mean");
    near(got.forward.next_var, want.next_var, x_size * x_size, "running var");
    near(got.backward.dgamma, want_back.dgamma, size.dgamma, "dgamma");
    near(got.backward.dbeta, want_back.dbeta, size.dbeta, "dbeta");
    near(got.backward.dx, want_back.dx, size.dx, "dx");
  });
}

TYPED_TEST(BatchNormSlices, EqualTheBatchFormOnAllRows) {
  for (const Activation act : kActivations) {
    BatchNormCase d = BatchNormCase::random(3000, 24, act, 5);
    d.x = as_stored<typename TypeParam::Value>(d.x);
    d.dy = as_stored<typename TypeParam::Value>(d.dy);
    const BatchNormForward at_double = forward(kOracle, d);
    const double margin =
        2 * tolerance<float>(3000, magnitudes(d, at_double.mean, at_double.rstd).y);
    d.clear_gradient_near_kinks(at_double.mean, at_double.rstd, margin);
    check<TypeParam>(d, {3000});
    check<TypeParam>(d, {1, 1499, 1500});
  }
}

// Squares of means are added and taken away again: in float they would leave nothing here.
TEST(BatchNormInSlices, LargeMeanKeepsTheVariance) {
  BatchNormCase d = BatchNormCase::random(3000, 8, Activation::None, 9);
  for (double& x : d.x) x = static_cast<float>(1000 + 0.01 * x);
  const BatchNormForward want = forward(kOracle, d);
  const Both got = in_slices(Cpu<float>{}, d, {1000, 2000}, want.mean, want.rstd);
  for (std::size_t c = 0; c < want.rstd.size(); ++c)
    EXPECT_NEAR(got.forward.rstd[c] / want.rstd[c], 1, tolerance<float>(3000, 1));
}

}  // namespace
}  // namespace dfengine::test
