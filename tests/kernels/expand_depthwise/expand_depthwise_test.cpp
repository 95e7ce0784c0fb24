// The formulas that stand in for what would be read again, in double (kernels/expand_depthwise.h).
#include <gtest/gtest.h>

#include "tests/kernels/expand_depthwise/expand_depthwise_case.h"

namespace dfengine::test {
namespace {

TEST(ExpandDepthwise, GradientsFollowFromWhatIsNarrow) {
  for (const ExpandDepthwiseCase& c : kExpandDepthwiseCases) {
    const ExpandDepthwiseReference reference(problem(c));
    const ExpandDepthwiseProblem& p = reference.p;
    const ExpandDepthwiseData d = random_data(p);
    const ExpandDepthwiseGradients want = reference.gradients(d);
    const Doubles e = reference.expanded(d);
    const ExpandedNorm n = reference.batch_norm(d, e);
    const ExpandDepthwiseGradients got = reference.narrow(d, e, n, [](double g) { return g; });

    const std::size_t in = at(p.in), wide = at(p.wide());
    const auto rows = static_cast<double>(p.rows());
    Doubles m(in, 0.0), covariance(in * in, 0.0);
    for (std::size_t i = 0; i < d.x.size(); ++i) m[i % in] += d.x[i] / rows;
    for (std::size_t row = 0; row < d.x.size(); row += in)
      for (std::size_t i = 0; i < in * in; ++i)
        covariance[i] += (d.x[row + i / in] - m[i / in]) * (d.x[row + i % in] - m[i % in]) / rows;
    Doubles dw(d.w.size()), dgamma(wide, 0.0), b(in, 0.0), matrix(in * in, 0.0), dx = got.projected;
    for (std::size_t k = 0; k < wide; ++k) {
      const double* const w = &d.w[k * in];
      double mean = 0, variance = 0;
      Doubles spread(in, 0.0);
      for (std::size_t i = 0; i < in; ++i) {
        mean += w[i] * m[i];
        for (std::size_t j = 0; j < in; ++j) spread[i] += covariance[i * in + j] * w[j];
        variance += w[i] * spread[i];
        dgamma[k] += n.rstd[k] * w[i] * (got.products[k * in + i] - m[i] * got.sums[k]);
      }
      EXPECT_NEAR(mean, n.mean[k], tolerance<double>(rows, 2 * static_cast<double>(in)));
      EXPECT_NEAR(
          1 / std::sqrt(variance + p.eps) / n.rstd[k], 1,
          tolerance<double>(rows, 4 * static_cast<double>(in * in)) * n.rstd[k] * n.rstd[k]);
      for (std::size_t i = 0; i < in; ++i) {
        dw[k * in + i] = n.scale[k] * (got.products[k * in + i] - got.sums[k] * m[i] -
                                       n.rstd[k] * dgamma[k] * spread[i]);
        b[i] += w[i] * n.scale[k] * got.sums[k] / rows;
        for (std::size_t j = 0; j < in; ++j)
          matrix[i * in + j] += w[i] * w[j] * n.scale[k] * n.rstd[k] * dgamma[k] / rows;
      }
    }
    for (std::size_t i = 0; i < dx.size(); ++i) {
      dx[i] -= b[i % in];
      for (std::size_t j = 0; j < in; ++j)
        dx[i] -= (d.x[i / in * in + j] - m[j]) * matrix[i % in * in + j];
    }
    const double terms = rows * static_cast<double>(wide);
    const auto expect_same = [&](const Doubles& a, const Doubles& as, const char* what) {
      expect_all_near(a, as, tolerance<double>(terms, largest(n.rstd, 1) * largest(as, 1)), what);
    };
    expect_same(dgamma, want.dgamma, "dgamma");
    expect_same(dw, want.dw, "dw");
    expect_same(dx, want.dx, "dx");
  }
}

TEST(ExpandDepthwise, GradientsAreThoseOfTheFunction) {
  const ExpandDepthwiseCase small = {.x = {2, 5, 4, 8}, .wide = 8, .stride = 2};
  const ExpandDepthwiseReference reference(problem(small));
  ExpandDepthwiseData d = random_data(reference.p);
  const auto loss = [&] {
    const Doubles e = reference.expanded(d);
    const Doubles y =
        reference.filtered(reference.activated(e, reference.batch_norm(d, e)), d.taps);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * d.dy[i];
    return sum;
  };
  const ExpandDepthwiseGradients g = reference.gradients(d);
  const double step = 1e-5, scale = std::abs(loss()) + largest(g.dw) + largest(g.dx);
  const auto check = [&](Doubles& values, const Doubles& gradient, const char* what) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double before = values[i];
      values[i] = before + step;
      const double more = loss();
      values[i] = before - step;
      const double less = loss();
      values[i] = before;
      EXPECT_NEAR((more - less) / (2 * step), gradient[i], gradcheck_tolerance(step) * scale)
          << what << i;
    }
  };
  check(d.x, g.dx, "x");
  check(d.w, g.dw, "w");
  check(d.taps, g.dtaps, "taps");
  check(d.gamma, g.dgamma, "gamma");
  check(d.beta, g.dbeta, "beta");
}

}  // namespace
}  // namespace dfengine::test
