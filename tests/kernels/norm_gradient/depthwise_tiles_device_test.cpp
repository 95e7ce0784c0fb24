// Depthwise convolutions on tiles beside the kernels that they may replace. Whole numbers are
// exact, so that every bit is told.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/depthwise/depthwise_tiles.h"
#include "kernels/expand_depthwise.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/kernels/moments/merged_moments.h"
#include "tests/kernels/norm_gradient/norm_gradient_case.h"

namespace dfengine::test {
namespace {

// Shared memory of a block on an H100.
constexpr std::size_t kLargest = 232448;

template <class T>
void check_forward(const DepthwiseProblem& p, Activation activation) {
  SCOPED_TRACE(Depthwise{p}.name());
  const Norm told(p.c, activation);
  DeviceArray<T> x(whole(p.input().count(), 1)), w(whole(9 * p.c, 2)), y(p.output().count()),
      plain(p.output().count());
  cuda::depthwise_forward<T>(nullptr, p, x.data(), w.data(), {}, plain.data(), told.norm);
  const Index by_rule = cuda::depthwise_tiles_moment_parts(p);
  // One part takes all tiles in turn; of more parts than tiles some stay empty.
  for (const Index parts : {Index{1}, by_rule, by_rule + 2}) {
    DeviceArray<float> moments(parts * ChannelMoments::pitch(p.c));
    cuda::depthwise_tiles_forward<T>(nullptr, p, x.data(), w.data(), told.norm, y.data(),
                                     {parts, moments.data()});
    ASSERT_EQ(y.values(), plain.values());
    expect_moments(moments.values(), y.values(), p.c);
  }
}

template <class T>
void check_backward(const DepthwiseProblem& p, bool loads, Activation activation) {
  SCOPED_TRACE(Depthwise{p}.name() + (loads ? " gradient on load" : ""));
  const Index in = p.input().count(), out = p.output().count();
  const Norm told(p.c, activation);
  LastStep step(p.c);
  DeviceArray<T> x(whole(in, 1)), w(whole(9 * p.c, 2)), g(whole(out, 3)), y(whole(out, 4)), dx(in),
      want_dx(in);
  DeviceArray<float> dw(9 * p.c), want_dw(9 * p.c);
  // What a block adds up has no room on some devices.
  if (!cuda::has_depthwise_tiles_backward(p)) {
    EXPECT_LT(cuda::shared_memory_limit(), kLargest);
    return;
  }
  const GradientOnLoad last{loads ? step.factors.data() : nullptr};
  const T* const of_y = loads ? y.data() : nullptr;
  const Index of_want = cuda::depthwise_gradient_parts(p);
  DeviceArray<float> want_scratch(cuda::depthwise_gradient_scratch(p)), want(of_want * 2 * p.c);
  cuda::depthwise_backward_sums<T>(nullptr, p, x.data(), of_y, g.data(), w.data(), told.norm, last,
                                   want_scratch.data(), want_dw.data(), want_dx.data(),
                                   {of_want, want.data()});
  const Index by_rule = cuda::depthwise_tiles_gradient_parts(p);
  for (const Index parts : {Index{1}, by_rule, by_rule + 2}) {
    DeviceArray<float> scratch(parts * 9 * p.c), sums(parts * 2 * p.c);
    cuda::depthwise_tiles_backward<T>(nullptr, p, x.data(), of_y, g.data(), w.data(), told.norm,
                                      last, scratch.data(), dw.data(), dx.data(),
                                      {parts, sums.data()});
    ASSERT_EQ(dx.values(), want_dx.values());
    ASSERT_EQ(dw.values(), want_dw.values());
    ASSERT_EQ(added(sums.values(), p.c), added(want.values(), p.c));
    scratch.values();
  }
}

template <class T>
class DepthwiseTilesDevice : public testing::Test {};
using Elements = testing::Types<Half, BFloat16>;
TYPED_TEST_SUITE(DepthwiseTilesDevice, Elements);

TYPED_TEST(DepthwiseTilesDevice, ForwardIsExact) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Depthwise& conv : Depthwise::cases())
      if (conv.takes(Device<TypeParam>{})) check_forward<TypeParam>(conv.p, Activation::Relu6);
  });
}

TYPED_TEST(DepthwiseTilesDevice, BackwardIsExact) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Depthwise& conv : Depthwise::cases())
      if (conv.takes(Device<TypeParam>{}))
        for (const bool loads : {false, true})
          check_backward<TypeParam>(conv.p, loads, Activation::Relu6);
  });
}

// Several tiles for a block, more channels than one has, tiles that images do not fill, every
// activation.
TYPED_TEST(DepthwiseTilesDevice, ManyTilesAndEveryActivation) {
  DF_NEEDS_DEVICE();
  for (const Index stride : {1, 2}) {
    for (const Activation activation : kActivations) {
      const auto p = DepthwiseProblem::make({2, 17, 19, 24}, stride, Padding::TfSame);
      check_forward<TypeParam>(p, activation);
      check_backward<TypeParam>(p, true, activation);
    }
    const auto wide = DepthwiseProblem::make({1, 3, 17, 296}, stride, Padding::Torch);
    check_forward<TypeParam>(wide, Activation::Relu6);
    check_backward<TypeParam>(wide, true, Activation::Relu6);
  }
}

TYPED_TEST(DepthwiseTilesDevice, AreExactAtTheShapesOfTheNetwork) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  for (const auto& [x, stride] : {std::pair{Shape{1, 112, 112, 32}, 1},
                                  {Shape{1, 112, 112, 96}, 2},
                                  {Shape{1, 56, 56, 144}, 1},
                                  {Shape{2, 28, 28, 192}, 2},
                                  {Shape{3, 14, 14, 576}, 1},
                                  {Shape{3, 7, 7, 960}, 1}}) {
    const DepthwiseProblem p = DepthwiseProblem::make(x, stride, Padding::Torch);
    check_forward<TypeParam>(p, Activation::Relu6);
    check_backward<TypeParam>(p, true, Activation::Relu6);
  }
}

TEST(DepthwiseTiles, NotWhereAPictureIsTooLargeToBeCounted) {
  const auto p = DepthwiseProblem::make({1, 4096, 4096, 128}, 1, Padding::Torch);
  EXPECT_FALSE(cuda::has_depthwise_tiles(p));
  EXPECT_TRUE(
      cuda::has_depthwise_tiles(DepthwiseProblem::make({1, 4096, 4096, 120}, 1, Padding::Torch)));
  EXPECT_THROW(cuda::depthwise_tiles_forward<Half>(nullptr, p, nullptr, nullptr, {}, nullptr, {}),
               ShapeError);
  EXPECT_THROW(cuda::depthwise_tiles_backward<Half>(nullptr, p, nullptr, nullptr, nullptr, nullptr,
                                                    {}, {}, nullptr, nullptr, nullptr, {}),
               ShapeError);
  EXPECT_FALSE(cuda::has_expand_depthwise({.depthwise = p, .in = 24}));
}

// A frozen weight has no gradient, though one passes through; what is not a number is not hidden.
TYPED_TEST(DepthwiseTilesDevice, WithoutAWeightGradientAndWithNan) {
  DF_NEEDS_DEVICE();
  using T = TypeParam;
  const DepthwiseProblem p = DepthwiseProblem::make({2, 9, 7, 8}, 1, Padding::Torch);
  const Norm told(p.c, Activation::None);
  const Index count = p.input().count(), parts = cuda::depthwise_tiles_gradient_parts(p);
  Doubles gradient = whole(count, 3);
  for (std::size_t k = 0; k < at(p.c); ++k)
    gradient[gradient.size() - 1 - k] = std::numeric_limits<double>::quiet_NaN();
  DeviceArray<T> x(whole(count, 1)), w(whole(9 * p.c, 2)), g(gradient), dx(count);
  DeviceArray<float> scratch(parts * 9 * p.c), sums(parts * 2 * p.c);
  cuda::depthwise_tiles_backward<T>(nullptr, p, x.data(), nullptr, g.data(), w.data(), told.norm,
                                    {}, scratch.data(), nullptr, dx.data(), {parts, sums.data()});
  for (double sum : added(sums.values(), p.c)) EXPECT_TRUE(std::isnan(sum));
  scratch.values();
}

}  // namespace
}  // namespace dfengine::test
