// Both gradients of a pointwise convolution in one kernel, beside the kernels that make one each.
// Whole numbers are exact, so that every bit is told.
#include <gtest/gtest.h>

#include <array>

#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_backward_sums.h"
#include "kernels/cuda/pointwise/pointwise_on_load.h"
#include "tests/kernels/norm_gradient/norm_gradient_case.h"

namespace dfengine::test {
namespace {

// ---- Of one that widens its input
// ----------------------------------------------------------------

// What it adds to, and what it is not asked for.
struct Asked {
  Write write = Write::Overwrite;
  bool norm = false, dw = true, dx = true;
};

template <class T>
void check_both(const PointwiseProblem& p, const Asked& asked) {
  SCOPED_TRACE(testing::Message() << p.m << " rows, " << p.c << " to " << p.k);
  const Norm told(p.c);
  LastStep step(p.k);
  const NormOnLoad norm = asked.norm ? told.norm : NormOnLoad{};
  const Doubles before = random_integers<double>(p.m * p.c, 7);
  DeviceArray<T> x(whole(p.m * p.c, 1)), w(whole(p.k * p.c, 2)), g(whole(p.m * p.k, 3)),
      y(whole(p.m * p.k, 4)), dy(step.taken(y.values(), g.values(), p.k)), plain(before),
      dx(before);
  DeviceArray<float> scratch(cuda::pointwise_on_load_scratch(p)), dw(p.k * p.c),
      plain_scratch(cuda::pointwise_weight_scratch(p)), plain_dw(p.k * p.c);
  cuda::pointwise_backward_on_load<T>(
      nullptr, p, x.data(), y.data(), g.data(), w.data(), norm, {step.factors.data()},
      scratch.data(), asked.dw ? dw.data() : nullptr, asked.write, asked.dx ? dx.data() : nullptr);
  cuda::pointwise_backward_data<T>(nullptr, p, dy.data(), w.data(), asked.write, plain.data());
  cuda::pointwise_backward_weight<T>(nullptr, p, x.data(), dy.data(), plain_scratch.data(),
                                     plain_dw.data(), norm);
  EXPECT_EQ(dx.values(), asked.dx ? plain.values() : before);
  if (asked.dw) {
    EXPECT_EQ(dw.values(), plain_dw.values());
  }
}

// Both tiles, full and with tails, from one row to several parts.
template <class T>
void check_all_both() {
  const auto of = [](Index m, Index c, Index k) { return PointwiseProblem::make(m, c, k); };
  for (const PointwiseProblem& p : {of(1, 8, 16), of(63, 16, 96), of(520, 8, 40), of(300, 16, 104),
                                    of(777, 24, 144), of(131, 32, 192), of(17, 8, 184)})
    check_both<T>(p, {});
}

TEST(PointwiseGradientsDevice, BothGradientsOfAPointwiseConvolution) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] { check_all_both<Half>(); });
  check_all_both<BFloat16>();
}

TEST(PointwiseGradientsDevice, BothGradientsAsTheyAreAskedFor) {
  DF_NEEDS_DEVICE();
  for (const PointwiseProblem& p :
       {PointwiseProblem::make(150, 16, 96), PointwiseProblem::make(150, 24, 144)}) {
    check_both<BFloat16>(p, {.norm = true});
    check_both<Half>(p, {.write = Write::Accumulate});
    check_both<Half>(p, {.norm = true});
    check_both<Half>(p, {.dw = false});
    check_both<Half>(p, {.dx = false});
  }
}

TEST(PointwiseGradientsDevice, RefusesWhatABlockDoesNotHold) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> any(Index{200} * 40);
  DeviceArray<float> floats(Index{3} * 200);
  for (const PointwiseProblem& p :
       {PointwiseProblem::make(1, 40, 192), PointwiseProblem::make(1, 32, 200),
        PointwiseProblem::make(1, 16, 16)}) {
    EXPECT_FALSE(cuda::has_pointwise_backward_on_load(p));
    EXPECT_THROW(cuda::pointwise_backward_on_load<Half>(
                     nullptr, p, any.data(), any.data(), any.data(), any.data(), {},
                     {floats.data()}, floats.data(), nullptr, Write::Overwrite, any.data()),
                 Error);
  }
}

// ---- Of one that leaves sums to the norm of its input
// ---------------------------------------------

template <class T>
void check_both_with_sums(const PointwiseProblem& p, bool with_dw = true,
                          Activation activation = Activation::Relu6) {
  SCOPED_TRACE(testing::Message() << p.m << " rows, " << p.c << " to " << p.k);
  const Norm told(p.c, activation);
  DeviceArray<T> x(whole(p.m * p.c, 1)), w(whole(p.k * p.c, 2)), dy(whole(p.m * p.k, 3)),
      plain(p.m * p.c), dx(p.m * p.c);
  const Index parts = cuda::pointwise_sums_parts(p);
  DeviceArray<float> scratch(cuda::pointwise_sums_scratch(p)), dw(p.k * p.c),
      plain_scratch(cuda::pointwise_weight_scratch(p)), plain_dw(p.k * p.c),
      values(parts * 2 * p.c);
  cuda::pointwise_backward_sums<T>(nullptr, p, x.data(), dy.data(), w.data(), told.norm,
                                   scratch.data(), with_dw ? dw.data() : nullptr, dx.data(),
                                   {parts, values.data()});
  cuda::pointwise_backward_data<T>(nullptr, p, dy.data(), w.data(), Write::Overwrite, plain.data());
  const Doubles got = dx.values();
  EXPECT_EQ(got, told.behind_activation(x.values(), plain.values()));
  EXPECT_EQ(added(values.values(), p.c), told.sums(x.values(), got));
  if (!with_dw) return;
  cuda::pointwise_backward_weight<T>(nullptr, p, x.data(), dy.data(), plain_scratch.data(),
                                     plain_dw.data(), told.norm);
  EXPECT_EQ(dw.values(), plain_dw.values());
}

// Every tile with tails in every size, from one row to several parts of several steps.
TEST(PointwiseGradientsDevice, BothGradientsAndSumsOfAPointwiseConvolution) {
  DF_NEEDS_DEVICE();
  const auto check = [](auto type) {
    using T = decltype(type);
    for (const auto& [m, c, k] : std::vector<std::array<Index, 3>>{{1, 48, 16},
                                                                   {65, 40, 24},
                                                                   {777, 144, 32},
                                                                   {300, 104, 40},
                                                                   {520, 56, 64},
                                                                   {131, 96, 96}})
      check_both_with_sums<T>(PointwiseProblem::make(m, c, k));
  };
  for_each_thread_order([&] { check(Half{}); });
  check(BFloat16{});
  const PointwiseProblem p = PointwiseProblem::make(150, 96, 24);
  check_both_with_sums<Half>(p, false);
  for (Activation activation : {Activation::None, Activation::Relu})
    check_both_with_sums<Half>(p, true, activation);
}

TEST(PointwiseGradientsDevice, BothGradientsAndSumsRefuseOtherParts) {
  DF_NEEDS_DEVICE();
  const auto p = PointwiseProblem::make(64, 48, 16), wide = PointwiseProblem::make(64, 8, 104);
  EXPECT_FALSE(cuda::has_pointwise_backward_sums(wide));
  const Norm told(48);
  DeviceArray<Half> any(Index{64} * 104);
  DeviceArray<float> floats(Index{104} * 48);
  for (const auto& [problem, parts] : {std::pair{p, Index{2}}, std::pair{wide, Index{1}}})
    EXPECT_THROW(cuda::pointwise_backward_sums<Half>(nullptr, problem, any.data(), any.data(),
                                                     any.data(), told.norm, floats.data(), nullptr,
                                                     any.data(), {parts, floats.data()}),
                 Error);
}

}  // namespace
}  // namespace dfengine::test
