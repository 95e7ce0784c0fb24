// Batch norm of a batch in slices: sums of each, added, and the rest equal the batch form in
// double on all rows.
#include <gtest/gtest.h>

#include "tests/kernels/batch_norm_case.h"
#include "tests/support/targets.h"

namespace dfengine::test {
namespace {

const Cpu<double> kOracle;

// ---- Calling conventions: all that the tests below know of them ----

template <class T, class... Rest>
void forward_sums(const Cpu<T>& on, const BatchNormProblem& p, Rest... rest) {
  cpu::batch_norm_forward_sums<T>(on.context(), p, rest...);
}
template <class T, class... Rest>
void forward_sums(Device<T>, const BatchNormProblem& p, Rest... rest) {
  cuda::batch_norm_forward_sums<T>(nullptr, p, rest...);
}
template <class T, class... Rest>
void backward_sums(const Cpu<T>& on, const BatchNormProblem& p, Rest... rest) {
  cpu::batch_norm_backward_sums<T>(on.context(), p, rest...);
}
template <class T, class... Rest>
void backward_sums(Device<T>, const BatchNormProblem& p, Rest... rest) {
  cuda::batch_norm_backward_sums<T>(nullptr, p, rest...);
}

// What the rest of forward writes beside y, each [C].
template <class S>
struct Statistics {
  S *next_mean, *next_var, *mean, *rstd;
};
template <class T, class S = SumOf<T>>
void forward_rest(const Cpu<T>& on, const BatchNormProblem& p, Index rows, const double* sums,
                  const T* x, const S* gamma, const S* beta, const S* mean_in, const S* var_in,
                  S* scratch, const Statistics<S>& to, T* y) {
  cpu::batch_norm_forward_rest<T>(on.context(), p, rows, sums, x, gamma, beta, mean_in, var_in,
                                  to.next_mean, to.next_var, scratch, to.mean, to.rstd, y);
}
template <class T>
void forward_rest(Device<T>, const BatchNormProblem& p, Index rows, const double* sums, const T* x,
                  const float* gamma, const float* beta, const float* mean_in, const float* var_in,
                  float*, const Statistics<float>& to, T* y) {
  cuda::batch_norm_forward_rest<T>(nullptr, p, rows, sums, x, gamma, beta, mean_in, var_in,
                                   to.next_mean, to.next_var, to.mean, to.rstd, y);
}
template <class T, class... Rest>
void backward_rest(const Cpu<T>& on, const BatchNormProblem& p, Rest... rest) {
  cpu::batch_norm_backward_rest<T>(on.context(), p, rest...);
}
template <class T, class... Rest>
void backward_rest(Device<T>, const BatchNormProblem& p, Rest... rest) {
  cuda::batch_norm_backward_rest<T>(nullptr, p, rest...);
}

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
  bool operator==(const Both&) const = default;
};

// Forward and backward through slices of so many rows each. dgamma and dbeta are those of all.
template <class Target>
Both in_slices(const Target& on, const BatchNormCase& d, const std::vector<Index>& sizes,
               const Doubles& mean_at, const Doubles& rstd_at) {
  using Sum = typename Target::Sum;
  using SumArray = typename Target::template Array<double>;
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
  Doubles of_forward(at(2 * c)), of_backward(at(2 * c));
  const auto add = [](Doubles& to, const Doubles& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  each([&](const BatchNormCase& s) {
    ValuesOn<Target> x(s.x), dy(s.dy);
    SumsOn<Target> scratch(scratch_count(on, s.p)), dgamma(c), dbeta(c);
    SumArray one(2 * c), other(2 * c);
    forward_sums(on, s.p, x.data(), scratch.data(), one.data());
    add(of_forward, one.values());
    backward_sums(on, s.p, x.data(), dy.data(), gamma.data(), beta.data(), mean_then.data(),
                  rstd_then.data(), scratch.data(), dgamma.data(), dbeta.data(), other.data());
    add(of_backward, other.values());
    add(out.backward.dgamma, dgamma.values());
    add(out.backward.dbeta, dbeta.values());
    scratch.values();
  });
  SumArray forward_all(of_forward), backward_all(of_backward);
  each([&](const BatchNormCase& s) {
    ValuesOn<Target> x(s.x), dy(s.dy), y(s.p.m * c);
    SumsOn<Target> scratch(scratch_count(on, s.p)), next_mean(c), next_var(c), mean(c), rstd(c);
    const Statistics<Sum> to{next_mean.data(), next_var.data(), mean.data(), rstd.data()};
    forward_rest(on, s.p, all, forward_all.data(), x.data(), gamma.data(), beta.data(),
                 mean_in.data(), var_in.data(), scratch.data(), to, y.data());
    append(out.forward.y, y.values());
    out.forward.mean = mean.values();
    out.forward.rstd = rstd.values();
    out.forward.next_mean = next_mean.values();
    out.forward.next_var = next_var.values();
    backward_rest(on, s.p, all, backward_all.data(), x.data(), dy.data(), gamma.data(), beta.data(),
                  mean_then.data(), rstd_then.data(), scratch.data(), dy.data());
    scratch.values();
    append(out.backward.dx, dy.values());
  });
  return out;
}

template <class Target>
class BatchNormSlices : public OnTarget<Target> {};
using SliceTargets =
    testing::Types<Cpu<double>, Cpu<float>, Device<Half>, Device<BFloat16>, Device<float>>;
TYPED_TEST_SUITE(BatchNormSlices, SliceTargets, TargetNames);

template <class Target>
void check(const BatchNormCase& d, const std::vector<Index>& sizes) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const double terms = static_cast<double>(d.p.m);
  const BatchNormForward want = forward(kOracle, d);
  const Magnitudes size = magnitudes(d, want.mean, want.rstd);
  const BatchNormBackward want_back = backward(kOracle, d, Form::Batch, want.mean, want.rstd);
  const double x_size = largest(d.x);
  for_each_code<Target>([&] {
    const Both got = same_for_every_schedule<Target>(
        [&](const Target& on) { return in_slices(on, d, sizes, want.mean, want.rstd); });
    const auto near = [&](const Doubles& a, const Doubles& b, double magnitude, const char* what) {
      expect_all_near(a, b, tolerance<Sum>(terms, magnitude), what);
    };
    expect_all_near(got.forward.y, want.y, tolerance<T, Sum>(terms, size.y), "y");
    near(got.forward.mean, want.mean, x_size, "mean");
    near(got.forward.rstd, want.rstd, largest(want.rstd), "rstd");
    near(got.forward.next_mean, want.next_mean, x_size, "running mean");
    near(got.forward.next_var, want.next_var, x_size * x_size, "running var");
    near(got.backward.dgamma, want_back.dgamma, size.dgamma, "dgamma");
    near(got.backward.dbeta, want_back.dbeta, size.dbeta, "dbeta");
    expect_all_near(got.backward.dx, want_back.dx, tolerance<T, Sum>(terms, size.dx), "dx");
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
template <class Target>
class BatchNormInSlices : public OnTarget<Target> {};
TYPED_TEST_SUITE(BatchNormInSlices, FloatTargets, TargetNames);

TYPED_TEST(BatchNormInSlices, LargeMeanKeepsTheVariance) {
  BatchNormCase d = BatchNormCase::random(3000, 8, Activation::None, 9);
  for (double& x : d.x) x = static_cast<float>(1000 + 0.01 * x);
  const BatchNormForward want = forward(kOracle, d);
  const Both got = in_slices(TypeParam{}, d, {1000, 2000}, want.mean, want.rstd);
  for (std::size_t c = 0; c < want.rstd.size(); ++c)
    EXPECT_NEAR(got.forward.rstd[c] / want.rstd[c], 1, tolerance<float>(3000, 1));
}

}  // namespace
}  // namespace dfengine::test
