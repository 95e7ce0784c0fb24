// Convolutions that make a part of a batch norm's gradient (kernels/norm_gradient.h), beside the
// kernels that know nothing of it. Whole numbers are exact, so that every bit is told.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/error.h"
#include "kernels/batch_norm.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/kernels/norm_gradient/norm_gradient_case.h"

namespace dfengine::test {
namespace {

// ---- Pointwise ----------------------------------------------------------------------------------

template <class T>
void check_pointwise(const cuda::PointwiseConfig& config, const PointwiseProblem& p,
                     Activation activation = Activation::Relu6) {
  SCOPED_TRACE(testing::Message() << cuda::name_of(config) << " on " << p.m << " rows, " << p.c
                                  << " to " << p.k);
  const Norm told(p.c, activation);
  DeviceArray<T> x(whole(p.m * p.c, 1)), w(whole(p.k * p.c, 2)), dy(whole(p.m * p.k, 3)),
      plain(p.m * p.c), dx(p.m * p.c);
  const Index parts = cuda::row_parts(config, p.m, p.c);
  DeviceArray<float> values(parts * 2 * p.c);
  cuda::pointwise_gradient_sums<T>(nullptr, config, p, dy.data(), w.data(), x.data(), told.norm,
                                   dx.data(), {parts, values.data()});
  cuda::pointwise_backward_data<T>(nullptr, config, p, dy.data(), w.data(), Write::Overwrite,
                                   plain.data());
  const Doubles got = dx.values();
  EXPECT_EQ(got, told.behind_activation(x.values(), plain.values()));
  EXPECT_EQ(added(values.values(), p.c), told.sums(x.values(), got));
}

// Two tiles of columns, the second with a tail; two blocks for each, of which one takes two tiles
// of rows, the last not full.
template <class T>
void check_tile(cuda::PointwiseTile tile) {
  if (cuda::shared_memory_of(tile, cuda::Beside::GradientSums) > cuda::shared_memory_limit())
    return;
  const auto [rows, columns, depth] = cuda::size_of(tile);
  check_pointwise<T>({tile, 4}, PointwiseProblem::make(3 * rows - 5, columns + 8, depth + 8));
}

TEST(NormGradientDevice, EveryPointwiseTile) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<Half>(tile);
  });
  for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<BFloat16>(tile);
}

// One block, fewer rows than a tile, a slice or a lane's share has, and more tiles than blocks.
TEST(NormGradientDevice, AnyNumberOfRowsAndEveryActivation) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile :
         {cuda::PointwiseTile::k256x16x32, cuda::PointwiseTile::k128x96x16,
          cuda::PointwiseTile::k32x32x64})
      for (Index m : {1, 2, 7, 8, 9, 17, 147, 300})
        check_pointwise<Half>({tile, 2}, PointwiseProblem::make(m, 24, 16));
  });
  for (Activation activation : kActivations)
    check_pointwise<Half>({cuda::PointwiseTile::k64x64x64, 3}, PointwiseProblem::make(333, 40, 8),
                          activation);
}

TEST(NormGradientDevice, RefusesPartsThatAreNotTheTiles) {
  DF_NEEDS_DEVICE();
  const Norm told(8);
  DeviceArray<Half> any(Index{64} * 8);
  DeviceArray<float> sums(Index{3} * 2 * 8);
  const cuda::PointwiseConfig config{cuda::PointwiseTile::k32x32x64, 2};
  EXPECT_THROW(
      cuda::pointwise_gradient_sums<Half>(nullptr, config, {64, 8, 8}, any.data(), any.data(),
                                          any.data(), told.norm, any.data(), {3, sums.data()}),
      Error);
}

// ---- Depthwise ----------------------------------------------------------------------------------

template <class T>
void check_depthwise(const DepthwiseProblem& p, bool loads, Activation activation) {
  SCOPED_TRACE(Depthwise{p}.name() + (loads ? " gradient on load" : ""));
  const Index in = p.input().count(), out = p.output().count();
  const Norm told(p.c, activation);
  LastStep step(p.c);
  DeviceArray<T> x(whole(in, 1)), w(whole(9 * p.c, 2)), g(whole(out, 3)), y(whole(out, 4)),
      dy(loads ? step.taken(y.values(), g.values(), p.c) : g.values()), plain(in), dx(in);
  const Index parts = cuda::depthwise_gradient_parts(p);
  DeviceArray<float> scratch(cuda::depthwise_gradient_scratch(p)), dw(9 * p.c),
      values(parts * 2 * p.c), plain_scratch(cuda::depthwise_weight_scratch(p)), plain_dw(9 * p.c);
  const GradientOnLoad last{loads ? step.factors.data() : nullptr};
  cuda::depthwise_backward_sums<T>(nullptr, p, x.data(), loads ? y.data() : nullptr, g.data(),
                                   w.data(), told.norm, last, scratch.data(), dw.data(), dx.data(),
                                   {parts, values.data()});
  cuda::depthwise_backward_data<T>(nullptr, p, dy.data(), w.data(), Write::Overwrite, plain.data());
  cuda::depthwise_backward_weight<T>(nullptr, p, x.data(), dy.data(), plain_scratch.data(),
                                     plain_dw.data(), told.norm);
  const Doubles got = dx.values();
  EXPECT_EQ(got, told.behind_activation(x.values(), plain.values()));
  EXPECT_EQ(dw.values(), plain_dw.values());
  EXPECT_EQ(added(values.values(), p.c), told.sums(x.values(), got));
}

template <class T>
void check_all_depthwise(bool loads) {
  for (const Depthwise& conv : Depthwise::cases())
    if (conv.takes(Device<T>{})) check_depthwise<T>(conv.p, loads, Activation::Relu6);
}

TEST(NormGradientDevice, Depthwise) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (bool loads : {false, true}) check_all_depthwise<Half>(loads);
  });
  for (bool loads : {false, true}) check_all_depthwise<BFloat16>(loads);
}

// Several strips for each thread, and every activation.
TEST(NormGradientDevice, DepthwiseOfThreePictures) {
  DF_NEEDS_DEVICE();
  for (Index stride : {1, 2})
    for (Activation activation : kActivations)
      check_depthwise<Half>(DepthwiseProblem::make({3, 33, 31, 40}, stride, Padding::TfSame), true,
                            activation);
}

// A frozen weight has no gradient, though one passes through.
TEST(NormGradientDevice, DepthwiseWithoutAWeightGradient) {
  DF_NEEDS_DEVICE();
  const DepthwiseProblem p = DepthwiseProblem::make({1, 5, 6, 8}, 1, Padding::Torch);
  const Norm told(p.c);
  const Index count = p.input().count(), parts = cuda::depthwise_gradient_parts(p);
  DeviceArray<Half> x(whole(count, 1)), w(whole(9 * p.c, 2)), g(whole(count, 3)), plain(count),
      dx(count);
  DeviceArray<float> scratch(cuda::depthwise_gradient_scratch(p)), sums(parts * 2 * p.c);
  cuda::depthwise_backward_sums<Half>(nullptr, p, x.data(), nullptr, g.data(), w.data(), told.norm,
                                      {}, scratch.data(), nullptr, dx.data(), {parts, sums.data()});
  cuda::depthwise_backward_data<Half>(nullptr, p, g.data(), w.data(), Write::Overwrite,
                                      plain.data());
  EXPECT_EQ(dx.values(), told.behind_activation(x.values(), plain.values()));
}

TEST(NormGradientDevice, NanIsNotHidden) {
  DF_NEEDS_DEVICE();
  const DepthwiseProblem p = DepthwiseProblem::make({2, 9, 7, 8}, 1, Padding::Torch);
  const Norm told(p.c, Activation::None);
  const Index count = p.input().count(), parts = cuda::depthwise_gradient_parts(p);
  Doubles gradient = whole(count, 3);
  for (std::size_t k = 0; k < at(p.c); ++k)
    gradient[gradient.size() - 1 - k] = std::numeric_limits<double>::quiet_NaN();
  DeviceArray<Half> x(whole(count, 1)), w(whole(9 * p.c, 2)), g(gradient), dx(count);
  DeviceArray<float> scratch(cuda::depthwise_gradient_scratch(p)), dw(9 * p.c),
      sums(parts * 2 * p.c);
  cuda::depthwise_backward_sums<Half>(nullptr, p, x.data(), nullptr, g.data(), w.data(), told.norm,
                                      {}, scratch.data(), dw.data(), dx.data(),
                                      {parts, sums.data()});
  for (double sum : added(sums.values(), p.c)) EXPECT_TRUE(std::isnan(sum));
}

// ---- The stem
// -------------------------------------------------------------------------------------

template <class T>
void check_stem(const StemProblem& p) {
  SCOPED_TRACE(Stem{p}.name());
  LastStep step(p.k);
  const Index out = p.output().count();
  DeviceArray<T> x(whole(Stem{p}.sizes().x, 1)), g(whole(out, 3)), y(whole(out, 4)),
      dy(step.taken(y.values(), g.values(), p.k));
  DeviceArray<float> scratch(cuda::stem_weight_scratch(p)), dw(27 * p.k), plain(27 * p.k);
  cuda::stem_backward_weight<T>(nullptr, p, x.data(), g.data(), scratch.data(), dw.data(), y.data(),
                                {step.factors.data()});
  cuda::stem_backward_weight<T>(nullptr, p, x.data(), dy.data(), scratch.data(), plain.data());
  EXPECT_EQ(dw.values(), plain.values());
}

TEST(NormGradientDevice, Stem) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Stem& conv : Stem::cases())
      if (conv.takes(Device<Half>{})) check_stem<Half>(conv.p);
  });
  for (Index stride : {1, 2}) {
    const StemProblem p = StemProblem::make({3, 65, 33, 3}, 40, Padding::Torch, stride);
    check_stem<BFloat16>(p);
    check_stem<float>(p);
  }
}

// ---- Batch norm ---------------------------------------------------------------------------------

// From sums in parts: the gradients beside those of the double oracle, and dx by the factors.
template <class T>
void check_batch_norm(Index m, Index c, Index parts) {
  SCOPED_TRACE(testing::Message() << m << " rows of " << c << " in " << parts << " parts");
  BatchNormCase d = BatchNormCase::random(m, c, Activation::None, 3);
  DeviceArray<T> x(d.x), g(random_uniform<double>(m * c, 4)), dx(m * c);
  d.x = x.values();
  d.dy = g.values();
  const BatchNormForward saved = forward(Cpu<double>{}, d);
  const BatchNormBackward want = backward(Cpu<double>{}, d, Form::Batch, saved.mean, saved.rstd);
  Doubles values(at(parts * 2 * c), 0.0);
  for (Index row = 0; row < m; ++row)
    for (Index k = 0; k < c; ++k) {
      const double of_row = d.dy[at(row * c + k)];
      double* const part = values.data() + row % parts * 2 * c + k;
      part[0] += of_row;
      part[c] += of_row * (d.x[at(row * c + k)] - saved.mean[at(k)]);
    }
  DeviceArray<float> sums(values), gamma(d.gamma), mean(saved.mean), rstd(saved.rstd),
      factors(3 * c), dgamma(c), dbeta(c);
  cuda::batch_norm_backward_given<T>(nullptr, d.p, {parts, sums.data()}, x.data(), g.data(),
                                     gamma.data(), mean.data(), rstd.data(), factors.data(),
                                     dgamma.data(), dbeta.data(), dx.data());
  const Magnitudes size = magnitudes(d, saved.mean, saved.rstd);
  const double terms = static_cast<double>(m);
  expect_all_near(dgamma.values(), want.dgamma, tolerance<float>(terms, size.dgamma), "dgamma");
  expect_all_near(dbeta.values(), want.dbeta, tolerance<float>(terms, size.dbeta), "dbeta");
  expect_all_near(dx.values(), want.dx, tolerance<T, float>(terms, size.dx), "dx");
  // In place, and left to somebody else: the same bits.
  const Doubles stored[] = {dx.values(), dgamma.values(), factors.values()};
  cuda::batch_norm_backward_given<T>(nullptr, d.p, {parts, sums.data()}, x.data(), g.data(),
                                     gamma.data(), mean.data(), rstd.data(), factors.data(),
                                     dgamma.data(), dbeta.data(), nullptr);
  EXPECT_EQ(g.values(), d.dy);
  cuda::batch_norm_backward_given<T>(nullptr, d.p, {parts, sums.data()}, x.data(), g.data(),
                                     gamma.data(), mean.data(), rstd.data(), factors.data(),
                                     dgamma.data(), dbeta.data(), g.data());
  EXPECT_EQ(g.values(), stored[0]);
  EXPECT_EQ(dgamma.values(), stored[1]);
  EXPECT_EQ(factors.values(), stored[2]);
}

TEST(NormGradientDevice, ABatchNormMakesItsGradientOfThem) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Index parts : {1, 3, 40}) {
      check_batch_norm<Half>(147, 24, parts);
      check_batch_norm<BFloat16>(588, 104, parts);
    }
  });
  check_batch_norm<float>(49, 8, 300);
}

}  // namespace
}  // namespace dfengine::test
