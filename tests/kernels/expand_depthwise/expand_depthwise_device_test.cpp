// The kernels of the wide half of an inverted residual that is not stored, beside double.
#include <gtest/gtest.h>

#include "kernels/cuda/context.h"
#include "kernels/cuda/expand_depthwise/expand_check.h"
#include "tests/kernels/expand_depthwise/expand_depthwise_case.h"
#include "tests/kernels/moments/merged_moments.h"
#include "tests/kernels/norm_gradient/norm_gradient_case.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

// MobileNetV2's, which the stand-in takes too long for.
const ExpandDepthwiseCase kBlocks[] = {
    {.x = {1, 112, 112, 16}, .wide = 96, .stride = 2},
    {.x = {3, 56, 56, 24}, .wide = 144},
    {.x = {1, 56, 56, 24}, .wide = 144, .stride = 2, .padding = Padding::TfSame},
    {.x = {1, 28, 28, 32}, .wide = 192},
    {.x = {1, 224, 224, 3}, .wide = 32, .stem_stride = 2},
};

template <class T>
class ExpandDepthwiseDevice : public testing::Test {};
using Elements = testing::Types<Half, BFloat16>;
TYPED_TEST_SUITE(ExpandDepthwiseDevice, Elements);

// Small whole numbers for the norm as well: every sum is exact, so that any wrong index shows.
struct WholeNorm {
  ExpandedNorm norm;
  DeviceArray<float> saved;
  explicit WholeNorm(const ExpandDepthwiseProblem& p)
      : norm{.scale = random_integers<double>(p.wide(), 11, 1, 2),
             .shift = random_integers<double>(p.wide(), 12, -2, 5),
             .rstd = Doubles(at(p.wide()), 1.0),
             .mean = Doubles(at(p.wide()), 0.0)},
        saved(0) {
    Doubles all(at(cuda::expand_depthwise_saved(p)), 0.0);
    std::ranges::copy(norm.scale, all.begin());
    std::ranges::copy(norm.shift, all.begin() + p.wide());
    saved = DeviceArray<float>(all);
  }
};

ExpandDepthwiseData whole_data(const ExpandDepthwiseProblem& p) {
  const Index c = p.wide();
  ExpandDepthwiseData d{.x = random_integers<double>(p.input().count(), 1, -1, 1),
                        .w = random_integers<double>(c * p.in, 2, -1, 1),
                        .taps = random_integers<double>(9 * c, 3, -1, 1),
                        .gamma = {},
                        .beta = {},
                        .dy = random_integers<double>(p.depthwise.output().count(), 6, -2, 2)};
  if (!p.pixels) return d;
  auto pixels = random_integers<std::uint8_t>(picture_values(p), 1, 0, 3);
  for (std::uint8_t& pixel : pixels) pixel = static_cast<std::uint8_t>(64 * pixel);
  take_pixels(p, std::move(pixels), d);
  return d;
}

// x or the pixels, and w, on the device.
template <class T>
struct DeviceInput {
  DeviceArray<T> x, w;
  DeviceStructs<std::uint8_t> pixels;
  bool of_pixels;
  DeviceInput(const ExpandDepthwiseProblem& p, const ExpandDepthwiseData& d)
      : x(d.x), w(in_order_of_weights(p, d.w)), pixels(d.pixels), of_pixels(p.pixels) {}
  const void* data() {
    return of_pixels ? static_cast<const void*>(pixels.data()) : static_cast<const void*>(x.data());
  }
  // What pixels have no place for.
  T* unless_pixels(DeviceArray<T>& values) { return of_pixels ? nullptr : values.data(); }
};

template <class T>
void expect_exact_integers(const ExpandDepthwiseCase& c) {
  const ExpandDepthwiseReference reference(problem(c));
  const ExpandDepthwiseProblem& p = reference.p;
  SCOPED_TRACE(::testing::Message() << c.x.h << " x " << c.x.w << ", " << c.wide);
  // What a block adds up has no room on some devices.
  if (!cuda::has_expand_depthwise(p)) {
    constexpr std::size_t kLargest = 232448;  // of an H100
    EXPECT_LT(cuda::shared_memory_limit(), kLargest);
    return;
  }
  const ExpandDepthwiseData d = whole_data(p);
  WholeNorm norm(p);
  const Doubles e = reference.expanded(d);
  DeviceInput<T> x(p, d);
  DeviceArray<T> taps(d.taps), y(p.depthwise.output().count());
  const Doubles want = as_stored<T>(reference.filtered(reference.activated(e, norm.norm), d.taps));
  // One block takes all tiles in turn; of more blocks than tiles some have none.
  for (const Index parts : {Index{1}, cuda::expand_depthwise_parts(p) + 2}) {
    DeviceArray<float> moments(parts * ChannelMoments::pitch(p.wide()));
    cuda::expand_depthwise_forward<T>(nullptr, p, x.data(), x.w.data(), taps.data(),
                                      norm.saved.data(), y.data(), {parts, moments.data()});
    ASSERT_EQ(y.values(), want);
    expect_moments(moments.values(), want, p.wide());
  }

  // Of the batch norm behind it: taken as it is loaded, and with factors that change nothing.
  LastStep step(p.wide());
  ExpandDepthwiseData behind = d;
  behind.dy = as_stored<T>(step.taken(want, d.dy, p.wide()));
  for (const bool on_load : {false, true}) {
    const ExpandDepthwiseGradients g = reference.narrow(
        on_load ? behind : d, e, norm.norm, [](double v) { return value_of(stored<T>(v)); });
    DeviceArray<T> dy(d.dy), projected(p.input().count());
    DeviceArray<float> scratch(cuda::expand_depthwise_scratch(p)),
        sums(cuda::expand_depthwise_sums(p)), dtaps(9 * p.wide());
    cuda::expand_depthwise_backward<T>(nullptr, p, x.data(), y.data(), dy.data(), x.w.data(),
                                       taps.data(), norm.saved.data(),
                                       {on_load ? step.factors.data() : nullptr}, scratch.data(),
                                       sums.data(), dtaps.data(), x.unless_pixels(projected));
    Doubles products = g.products;
    products.insert(products.end(), g.sums.begin(), g.sums.end());
    ASSERT_EQ(sums.values(), products);
    ASSERT_EQ(dtaps.values(), g.dtaps);
    if (!p.pixels) {
      ASSERT_EQ(projected.values(), as_stored<T>(g.projected));
    }
    scratch.values();
  }
}

TYPED_TEST(ExpandDepthwiseDevice, IntegersAreExact) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const ExpandDepthwiseCase& c : kExpandDepthwiseCases) expect_exact_integers<TypeParam>(c);
  });
}

TYPED_TEST(ExpandDepthwiseDevice, TheNetworksBlocksAreExact) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  for (const ExpandDepthwiseCase& c : kBlocks) expect_exact_integers<TypeParam>(c);
}

Doubles squared(Doubles values) {
  for (double& v : values) v *= v;
  return values;
}

Doubles mean_squares(const Doubles& values, std::size_t columns) {
  Doubles means(columns, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    means[i % columns] +=
        values[i] * values[i] * static_cast<double>(columns) / static_cast<double>(values.size());
  return means;
}
Doubles around_mean(Doubles values, std::size_t columns) {
  Doubles means(columns, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    means[i % columns] +=
        values[i] * static_cast<double>(columns) / static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] -= means[i % columns];
  return values;
}

// Sums of terms that were rounded to T, each by itself and with an error of random sign: squares
// are the sums of the terms' squares, and `last` what was rounded behind the sum.
template <class T>
void expect_sums(const Doubles& got, const Doubles& want, const Doubles& squares,
                 const Doubles& last, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double size = std::sqrt(squares[i]) + (last.empty() ? 0.0 : std::abs(last[i]));
    ASSERT_NEAR(got[i], want[i], tolerance<T>(1, size)) << what << "[" << i << "]";
  }
}

// Of each channel, how far float sums over rows of x may move the mean and the variance of e.
struct StatisticsError {
  Doubles mean, variance;
  StatisticsError(const ExpandDepthwiseProblem& p, const ExpandDepthwiseData& d)
      : mean(at(p.wide())), variance(at(p.wide())) {
    constexpr double kRowsOfBlock = 256;
    const std::size_t in = at(p.in);
    Doubles gram(in * in, 0.0), sums(in, 0.0);
    for (std::size_t row = 0; row < d.x.size(); row += in)
      for (std::size_t i = 0; i < in * in; ++i) {
        gram[i] += d.x[row + i / in] * d.x[row + i % in] / static_cast<double>(p.rows());
        if (i < in) sums[i] += d.x[row + i] / static_cast<double>(p.rows());
      }
    for (std::size_t k = 0; k < mean.size(); ++k) {
      double squares = 0, of_mean = 0;
      for (std::size_t i = 0; i < in * in; ++i)
        squares += std::pow(d.w[k * in + i / in] * d.w[k * in + i % in] * gram[i], 2);
      for (std::size_t i = 0; i < in; ++i) of_mean += std::pow(d.w[k * in + i] * sums[i], 2);
      variance[k] = tolerance<float>(kRowsOfBlock, std::sqrt(squares));
      mean[k] = tolerance<float>(kRowsOfBlock, std::sqrt(of_mean));
    }
  }
};

// What the kernels make of random numbers, one after the other.
template <class T>
struct Results {
  Doubles saved, next_mean, next_var, y, moments, dtaps, dw, dgamma, dbeta, dx;

  // dx: what it holds before.
  Results(const ExpandDepthwiseProblem& p, const ExpandDepthwiseData& d, const Doubles& before) {
    const Index wide = p.wide(), parts = cuda::expand_depthwise_parts(p);
    DeviceInput<T> x(p, d);
    DeviceArray<T> taps(d.taps), of_y(p.depthwise.output().count()), of_dy(d.dy),
        projected(p.input().count()), of_dx(before);
    DeviceArray<float> gamma(d.gamma), beta(d.beta), running_mean(Doubles(at(wide), 1.0)),
        running_var(Doubles(at(wide), 2.0)), mean(wide), var(wide),
        kept(cuda::expand_depthwise_saved(p)), of_moments(parts * ChannelMoments::pitch(wide)),
        scratch(cuda::expand_depthwise_scratch(p)), sums(cuda::expand_depthwise_sums(p)),
        of_taps(9 * wide), of_w(wide * (p.pixels ? 27 : p.in)), of_gamma(wide), of_beta(wide),
        rest(cuda::expand_gradients_scratch(p)),
        of_statistics(cuda::expand_statistics_scratch(p) / kFloatBytes);
    cuda::expand_statistics<T>(nullptr, p, x.data(),
                               {x.w.data(), gamma.data(), beta.data(), running_mean.data(),
                                running_var.data(), mean.data(), var.data()},
                               of_statistics.data(), kept.data());
    cuda::expand_depthwise_forward<T>(nullptr, p, x.data(), x.w.data(), taps.data(), kept.data(),
                                      of_y.data(), {parts, of_moments.data()});
    cuda::expand_depthwise_backward<T>(nullptr, p, x.data(), of_y.data(), of_dy.data(), x.w.data(),
                                       taps.data(), kept.data(), {}, scratch.data(), sums.data(),
                                       of_taps.data(), x.unless_pixels(projected));
    cuda::expand_gradients<T>(nullptr, p, x.data(), x.w.data(), kept.data(), sums.data(),
                              rest.data(), of_w.data(), of_gamma.data(), of_beta.data(),
                              x.unless_pixels(projected), Write::Accumulate,
                              x.unless_pixels(of_dx));
    saved = kept.values(), next_mean = mean.values(), next_var = var.values();
    y = of_y.values(), moments = of_moments.values(), dtaps = of_taps.values();
    dw = of_w.values(), dgamma = of_gamma.values(), dbeta = of_beta.values(), dx = of_dx.values();
    for (const Doubles& written : {of_statistics.values(), scratch.values(), rest.values()})
      EXPECT_FALSE(written.empty());
  }
};

void expect_statistics(const ExpandDepthwiseProblem& p, const ExpandDepthwiseData& d,
                       const ExpandedNorm& n, const Doubles& saved, const Doubles& next_mean,
                       const Doubles& next_var) {
  const StatisticsError error(p, d);
  const auto rows = static_cast<double>(p.rows());
  for (std::size_t k = 0; k < at(p.wide()); ++k) {
    const double rstd = n.rstd[k], variance = 1 / (rstd * rstd) - p.eps;
    const double relative = error.variance[k] * rstd * rstd + tolerance<float>(1, 1);
    const double scale = std::abs(n.scale[k]);
    EXPECT_NEAR(saved[k], n.scale[k], relative * scale);
    EXPECT_NEAR(saved[at(p.wide()) + k], n.shift[k],
                relative * scale * std::abs(n.mean[k]) + scale * error.mean[k] +
                    tolerance<float>(1, std::abs(d.beta[k])));
    EXPECT_NEAR(saved[2 * at(p.wide()) + k], rstd, relative * rstd);
    EXPECT_NEAR(next_mean[k], 0.9 + 0.1 * n.mean[k], error.mean[k] + tolerance<float>(1, 1));
    EXPECT_NEAR(next_var[k], 1.8 + 0.1 * variance * rows / (rows - 1),
                error.variance[k] + tolerance<float>(1, 2));
  }
}

TYPED_TEST(ExpandDepthwiseDevice, AreWithinRoundingOfTheFormula) {
  DF_NEEDS_DEVICE();
  using T = TypeParam;
  for (const ExpandDepthwiseCase& c : kExpandDepthwiseCases) {
    const ExpandDepthwiseReference reference(problem(c));
    const ExpandDepthwiseProblem& p = reference.p;
    // The variance of two rows is that of rounding.
    if (p.rows() < 8) continue;
    SCOPED_TRACE(::testing::Message() << c.x.h << " x " << c.x.w << ", " << c.wide);
    ExpandDepthwiseData d = random_data(p);
    for (Doubles* values : {&d.x, &d.w, &d.taps, &d.dy}) *values = as_stored<T>(*values);
    const Doubles e = reference.expanded(d);
    const ExpandedNorm n = reference.batch_norm(d, e);
    const Doubles v = reference.activated(e, n);
    const ExpandDepthwiseGradients want = reference.gradients(d);
    const Doubles before = as_stored<T>(random_uniform<double>(p.input().count(), 9));
    const Results<T> got(p, d, before);

    expect_statistics(p, d, n, got.saved, got.next_mean, got.next_var);
    const Doubles y = reference.filtered(v, d.taps);
    expect_sums<T>(got.y, y, reference.filtered(squared(v), squared(d.taps)), y, "y");
    expect_moments(got.moments, got.y, p.wide());

    const Doubles g = squared(want.g);
    Doubles g_hat = squared(reference.normalised(e, n));
    for (std::size_t i = 0; i < g.size(); ++i) g_hat[i] *= g[i];
    expect_sums<T>(got.dtaps, want.dtaps, reference.tap_gradients(squared(d.dy), squared(v)), {},
                   "dtaps");
    expect_sums<T>(got.dbeta, want.dbeta, reference.channel_sums(g), {}, "dbeta");
    expect_sums<T>(got.dgamma, want.dgamma, reference.channel_sums(g_hat), {}, "dgamma");
    // dw is a linear function of g: of x around its mean, less what xhat of e has of it, which is
    // at most as large as x's deviation.
    const Doubles hats = reference.channel_sums(g_hat), centred = around_mean(d.x, at(p.in));
    const Doubles variances = mean_squares(centred, at(p.in));
    Doubles of_w = reference.products(g, squared(centred));
    for (std::size_t i = 0; i < of_w.size(); ++i)
      of_w[i] = 2 * std::pow(n.scale[i / at(p.in)], 2) *
                (of_w[i] + hats[i / at(p.in)] * variances[i % at(p.in)]);
    expect_sums<T>(got.dw, in_order_of_weights(p, want.dw), in_order_of_weights(p, of_w), {}, "dw");
    if (p.pixels) continue;
    Doubles sum = want.dx;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += before[i];
    Doubles last = want.projected;
    for (std::size_t i = 0; i < last.size(); ++i) last[i] = std::abs(last[i]) + std::abs(sum[i]);
    expect_sums<T>(got.dx, sum, reference.projected(g, squared(n.scale), squared(d.w)), last, "dx");
  }
}

// What a tuner asks before it lets them race: beside the kernels that store e.
TYPED_TEST(ExpandDepthwiseDevice, PassTheCheckBesideTheStoredForm) {
  DF_NEEDS_DEVICE();
  for (const ExpandDepthwiseCase& c : kExpandDepthwiseCases)
    EXPECT_NO_THROW(cuda::check_expand_depthwise<TypeParam>(nullptr, problem(c))) << c.wide;
}

}  // namespace
}  // namespace dfengine::test
