// The three convolutions on every target against their formulas: the matrix of operations, targets
// and cases.
#include "kernels/cuda/context.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {
namespace {

// One square of the matrix.
template <class O, class T>
struct On {
  using Op = O;
  using Target = T;
};

struct SquareNames {
  template <class Square>
  static std::string GetName(int) {
    return Square::Op::kName + target_name<typename Square::Target>();
  }
};

template <class Square>
class Convolution : public OnTarget<typename Square::Target> {};

using All = testing::Types<
    On<Depthwise, Cpu<double>>, On<Depthwise, Cpu<float>>, On<Depthwise, Cpu<BFloat16>>,
    On<Depthwise, Device<Half>>, On<Depthwise, Device<BFloat16>>, On<Depthwise, Device<float>>,
    On<Stem, Cpu<double>>, On<Stem, Cpu<float>>, On<Stem, Cpu<BFloat16>>, On<Stem, Device<Half>>,
    On<Stem, Device<BFloat16>>, On<Stem, Device<float>>, On<Pointwise, Cpu<double>>,
    On<Pointwise, Cpu<float>>, On<Pointwise, Cpu<BFloat16>>, On<Pointwise, Device<Half>>,
    On<Pointwise, Device<BFloat16>>, On<Pointwise, Device<float>>>;
TYPED_TEST_SUITE(Convolution, All, SquareNames);

// Calls body(op) for every problem of a list that the target takes, or every `step`th of them.
template <class Target, class Op, class Body>
void for_each(const std::vector<Op>& list, Body&& body, int step = 1) {
  int taken = 0;
  for (const Op& op : list) {
    if (!op.takes(Target{}) || taken++ % step != 0) continue;
    SCOPED_TRACE(op.name());
    body(op);
    if (testing::Test::HasFatalFailure()) return;
  }
}

// The cases and, where that does not take minutes, the large ones.
template <class Op, class Target, class Body>
void for_each_case(Body&& body) {
  for_each<Target>(Op::cases(), body);
  if (!Target::kOnDevice || !cuda::is_emulated()) for_each<Target>(Op::large(), body);
}

template <class Target, class Op>
void check_exact(const Op& op, const ConvOptions& options) {
  const ConvData d = integer_data(op.sizes());
  const ConvResults want = formula(op, d, options);
  for_each_code<Target>([&] { expect_exact<Target>(run(Target{}, op, d, options), want); });
}

TYPED_TEST(Convolution, ExactOnSmallIntegers) {
  using Target = typename TypeParam::Target;
  for_each_case<typename TypeParam::Op, Target>(
      [](const auto& op) { check_exact<Target>(op, kEverything); });
}

// Sums in another order would show here, not on integers.
TYPED_TEST(Convolution, NearTheFormulaWithTheSameBitsForEverySchedule) {
  using Target = typename TypeParam::Target;
  for_each_case<typename TypeParam::Op, Target>([](const auto& op) {
    const ConvExpectation<Target> expected(op, kEverything);
    for_each_code<Target>([&] {
      expected.expect_near(same_for_every_schedule<Target>(
          [&](const Target& on) { return run(on, op, expected.data, kEverything); }));
    });
  });
}

// Every small size, tail and border; the stand-in for a GPU takes some of them.
TYPED_TEST(Convolution, EverySmallSize) {
  using Target = typename TypeParam::Target;
  constexpr int kEvery = Target::kOnDevice ? 23 : 1;
  if constexpr (Target::kOnDevice) {
    DF_SLOW_UNDER_SANITIZERS();
  }
  for_each<Target>(
      TypeParam::Op::sweep(),
      [&](const auto& op) {
        check_exact<Target>(op, {});
        const ConvExpectation<Target> expected(op, {});
        for_each_code<Target>([&] { expected.expect_near(run(Target{}, op, expected.data, {})); });
      },
      kEvery);
}

TYPED_TEST(Convolution, EpilogueAppliesBiasActivationThenResidual) {
  using Target = typename TypeParam::Target;
  for_each<Target>(
      TypeParam::Op::cases(),
      [&](const auto& op) {
        for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6})
          for (bool bias : {false, true})
            for (bool residual : {false, true}) {
              SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(activation)
                                              << " bias " << bias << " residual " << residual);
              check_exact<Target>(op, {activation, bias, residual, Write::Overwrite});
            }
      },
      4);
}

// A network that went wrong must show it: NaN is not clamped away, nor does it spread.
TYPED_TEST(Convolution, NanPassesThroughEveryActivation) {
  using Target = typename TypeParam::Target;
  for_each<Target>(
      TypeParam::Op::cases(),
      [](const auto& op) {
        ConvData d = integer_data(op.sizes());
        d.x[d.x.size() / 2] = std::numeric_limits<double>::quiet_NaN();
        for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
          const Doubles want = formula(op, d, {.activation = activation}).y;
          for_each_code<Target>([&] {
            const Doubles y = run(Target{}, op, d, {.activation = activation}).y;
            for (std::size_t i = 0; i < y.size(); ++i)
              ASSERT_EQ(std::isnan(y[i]), std::isnan(want[i])) << i;
          });
        }
      },
      4);
}

}  // namespace
}  // namespace dfengine::test
