// Every layer on every target: its gradients against central differences in double, on devices its
// results against that; and what a layer promises its plan about memory: skipped, accumulated and
// shared gradients.
#include <memory>

#include "layers/batch_norm.h"
#include "layers/depthwise_conv.h"
#include "layers/elementwise.h"
#include "layers/head.h"
#include "layers/pointwise_conv.h"
#include "layers/stem_conv.h"
#include "tests/support/gradcheck.h"

namespace dfengine {
namespace {

using test::BackwardCall;
using test::Cpu;
using test::Device;
using test::Doubles;
using test::LayerGradients;
using test::LayerRun;

// Which gradients a layer has.
struct Wanted {
  std::vector<std::size_t> dx = {0};
  std::size_t dparams = 0;  // the first so many parameters are learned
};

std::vector<std::size_t> skipped(const Wanted& wanted, std::size_t inputs) {
  std::vector<std::size_t> skip;
  for (std::size_t k = 0; k < inputs; ++k)
    if (std::ranges::find(wanted.dx, k) == wanted.dx.end()) skip.push_back(k);
  return skip;
}

// Every gradient against differences of sum(dy * y).
void check_numbers(LayerRun<Cpu<double>>& run, const Wanted& wanted, const BackwardCall& all) {
  const LayerGradients got = run.backward(all);
  const auto value = [&] { return test::dot(run.dy, run.forward(true)); };
  const double scale = test::magnitude(run.dy, run.forward(true));
  for (std::size_t k : wanted.dx)
    test::expect_gradient(run.x[k], got.dx[k], value, scale, "dx " + std::to_string(k));
  for (std::size_t k = 0; k < wanted.dparams; ++k)
    test::expect_gradient(run.params[k], got.dparams[k], value, scale,
                          "dparams " + std::to_string(k));
}

// Everything against the double run with the same numbers, whatever it is stored in.
template <class T>
void check_numbers(LayerRun<Device<T>>& run, const Wanted&, const BackwardCall& all) {
  const LayerRun<Cpu<double>> exact = run.oracle();
  const std::vector<Doubles> want = test::everything(exact, all), got = test::everything(run, all);
  const std::vector<double> allowed = test::float_condition(exact, all);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].size(), want[k].size()) << "result " << k;
    for (std::size_t i = 0; i < got[k].size(); ++i) {
      const double bound = allowed[k] + test::tolerance<T, float>(1, std::abs(want[k][i]));
      // Written so that a NaN fails.
      ASSERT_TRUE(std::abs(got[k][i] - want[k][i]) <= bound)
          << "result " << k << "[" << i << "] is " << got[k][i] << ", expected " << want[k][i]
          << " within " << bound;
    }
  }
}

// Leaving one gradient out changes none of the others.
template <class Target>
void check_skipping(const LayerRun<Target>& run, const Wanted& wanted, const BackwardCall& all,
                    const LayerGradients& got) {
  for (std::size_t k : wanted.dx) {
    BackwardCall call = all;
    call.skip_dx.push_back(k);
    LayerGradients expected = got;
    expected.dx[k].clear();
    const LayerGradients without = run.backward(call);
    EXPECT_EQ(without.dparams, expected.dparams) << "without dx " << k;
    for (std::size_t other : wanted.dx) EXPECT_EQ(without.dx[other], expected.dx[other]);
  }
  for (std::size_t k = 0; k < wanted.dparams; ++k) {
    BackwardCall call = all;
    call.skip_dparams.push_back(k);
    const LayerGradients without = run.backward(call);
    for (std::size_t other : wanted.dx)
      EXPECT_EQ(without.dx[other], got.dx[other]) << "without dparams " << k;
    for (std::size_t other = 0; other < wanted.dparams; ++other)
      if (other != k) {
        EXPECT_EQ(without.dparams[other], got.dparams[other]) << "without " << k;
      }
  }
}

template <class Target>
void check_accumulation(const LayerRun<Target>& run, const Wanted& wanted, BackwardCall call,
                        const LayerGradients& got) {
  for (std::size_t k = 0; k < run.x.size(); ++k)
    call.add_to.push_back(run.held(
        run.in(k).element, test::random_uniform<double>(static_cast<Index>(run.x[k].size()), 71)));
  const LayerGradients sum = run.backward(call);
  for (std::size_t k : wanted.dx)
    for (std::size_t i = 0; i < got.dx[k].size(); ++i) {
      const double a = call.add_to[k][i], b = got.dx[k][i];
      const double size = std::abs(a) + std::abs(b) + test::magnitude(run.dy, run.dy);
      ASSERT_NEAR(sum.dx[k][i], a + b, test::tolerance<typename Target::Value>(1, size))
          << "added dx " << k;
    }
  EXPECT_EQ(sum.dparams, got.dparams) << "parameter gradients are always overwritten";
}

template <class Target>
void check_layer(LayerRun<Target>& run, const Wanted& wanted) {
  BackwardCall all;
  all.skip_dx = skipped(wanted, run.x.size());
  for (std::size_t k = wanted.dparams; k < run.params.size(); ++k) all.skip_dparams.push_back(k);
  check_numbers(run, wanted, all);
  const LayerGradients got = run.backward(all);
  check_skipping(run, wanted, all, got);
  const LayerPlan booked = run.plan(true);
  if (!booked.dx_overwrites && !wanted.dx.empty()) check_accumulation(run, wanted, all, got);
  if (booked.dx_may_be_dy) {
    BackwardCall shared = all;
    shared.dx_is_dy = true;
    EXPECT_EQ(run.backward(shared).dx[0], got.dx[0]) << "dx in dy's memory";
  }
  if (booked.overwrites_input >= 0) {
    EXPECT_EQ(run.forward(true, true), run.forward(true)) << "y in x's memory";
  }
}

// Forward for inference is forward before a backward, in place or not.
template <class Target>
void check_inference(const Layer& layer, const std::vector<Spec>& in, std::uint64_t seed) {
  const LayerRun<Target> run(layer, in, Phase::Infer, seed);
  const Doubles y = run.forward(false);
  EXPECT_EQ(y, run.forward(true)) << "inference form";
  if (run.plan(false).overwrites_input >= 0) {
    EXPECT_EQ(y, run.forward(false, true)) << "inference in place";
  }
}

const Index kSizes[] = {1, 2, 5, 7};
const Padding kPaddings[] = {Padding::Torch, Padding::TfSame};

template <class Target>
constexpr Element element_of() {
  using T = typename Target::Value;
  if (std::is_same_v<T, Half>) return Element::F16;
  return std::is_same_v<T, float> ? Element::F32 : Element::F64;
}

template <class Target>
Spec spec(const Shape& shape) {
  return {shape, element_of<Target>()};
}

// Devices load vectors of eight channels.
template <class Target>
constexpr Index channels(Index c) {
  return Target::kOnDevice ? (c + 7) / 8 * 8 : c;
}

template <class Target>
class Layers : public test::OnTarget<Target> {};
using Targets = testing::Types<Cpu<double>, Device<Half>, Device<float>>;
TYPED_TEST_SUITE(Layers, Targets, test::TargetNames);

// What stands behind the pool is in float on devices.
template <class Target>
class HeadLayers : public test::OnTarget<Target> {};
using HeadTargets = testing::Types<Cpu<double>, Device<float>>;
TYPED_TEST_SUITE(HeadLayers, HeadTargets, test::TargetNames);

std::string case_name(const Shape& x, const std::string& more = "") {
  return to_string(x) + " " + more;
}

// body(shape) for batch 1 and 3 and every height; the width is another one.
template <class Body>
void for_shapes(Index c, Body&& body) {
  for (Index n : {1, 3})
    for (std::size_t i = 0; i < std::size(kSizes); ++i)
      for (std::size_t shift : {0, 1})
        body(Shape{n, kSizes[i], kSizes[(i + shift) % std::size(kSizes)], c});
}

TYPED_TEST(Layers, Stem) {
  for (Padding padding : kPaddings)
    for_shapes(3, [&](const Shape& x) {
      SCOPED_TRACE(case_name(x, padding == Padding::Torch ? "torch" : "tf_same"));
      const StemConv layer("stem", "w", 8, padding);
      LayerRun<TypeParam> run(layer, {spec<TypeParam>(x)}, Phase::Train, 100);
      check_layer(run, {.dx = {}, .dparams = 1});
      check_inference<TypeParam>(layer, {spec<TypeParam>(x)}, 101);
    });
}

TYPED_TEST(Layers, StemHasNoDataGradient) {
  const StemConv layer("features.0.0", "w", 8, Padding::Torch);
  const LayerRun<TypeParam> run(layer, {spec<TypeParam>({1, 5, 5, 3})}, Phase::Train, 100);
  EXPECT_THROW(run.backward(), Error);
}

TYPED_TEST(Layers, Depthwise) {
  for (Padding padding : kPaddings)
    for (Index stride : {1, 2})
      for_shapes(channels<TypeParam>(5), [&](const Shape& x) {
        SCOPED_TRACE(case_name(x, "stride " + std::to_string(stride)));
        const DepthwiseConv layer("dw", "w", x.c, stride, padding);
        LayerRun<TypeParam> run(layer, {spec<TypeParam>(x)}, Phase::Train, 200);
        check_layer(run, {.dparams = 1});
        check_inference<TypeParam>(layer, {spec<TypeParam>(x)}, 201);
      });
}

TYPED_TEST(Layers, Pointwise) {
  for (Index k : {channels<TypeParam>(1), channels<TypeParam>(9)})
    for_shapes(channels<TypeParam>(6), [&](const Shape& x) {
      SCOPED_TRACE(case_name(x, "to " + std::to_string(k)));
      const PointwiseConv layer("pw", "w", x.c, k);
      LayerRun<TypeParam> run(layer, {spec<TypeParam>(x)}, Phase::Train, 300);
      check_layer(run, {.dparams = 1});
      check_inference<TypeParam>(layer, {spec<TypeParam>(x)}, 301);
    });
}

// The value before the activation, in double, must be clear of its kinks.
template <class Target>
void expect_clear_of_kinks(const Layer& plain, const LayerRun<Target>& run, Activation activation) {
  const LayerRun<Cpu<double>> exact = run.oracle();
  LayerRun<Cpu<double>> probe(plain, {exact.in(0)}, Phase::Train, 0);
  probe.x = exact.x;
  probe.params = exact.params;
  ASSERT_GT(test::kink_distance(probe.forward(true), activation), test::kKinkDistance);
}

template <class Target>
void check_batch_norm(Activation activation, bool frozen) {
  constexpr Index c = channels<Target>(3);
  const std::vector<Shape> shapes = {{4, 1, 1, c}, {1, 2, 2, c}, {1, 1, 5, c}, {1, 7, 5, c},
                                     {3, 2, 2, c}, {3, 5, 1, c}, {3, 5, 7, c}};
  for (const Shape& x : shapes) {
    SCOPED_TRACE(case_name(x, frozen ? "frozen" : "batch") + activation_suffix(activation));
    const std::vector<Spec> in = {spec<Target>(x)};
    const BatchNorm layer("bn", c, {.activation = activation, .frozen_statistics = frozen});
    const BatchNorm plain("bn", c, {.frozen_statistics = frozen});
    LayerRun<Target> run(layer, in, Phase::Train, 400);
    // Wide enough to reach both bounds of ReLU6.
    for (double& gamma : run.params[0]) gamma += 2;
    expect_clear_of_kinks(plain, run, activation);
    check_layer(run, {.dparams = 2});
    check_inference<Target>(layer, in, 401);
  }
}

TYPED_TEST(Layers, BatchNorm) {
  for (Activation a : {Activation::None, Activation::Relu, Activation::Relu6})
    check_batch_norm<TypeParam>(a, false);
}

TYPED_TEST(Layers, FrozenBatchNorm) {
  for (Activation a : {Activation::None, Activation::Relu, Activation::Relu6})
    check_batch_norm<TypeParam>(a, true);
}

// No gradient for either parameter: a frozen batch norm above a trained convolution.
TYPED_TEST(Layers, BatchNormWithoutParameterGradients) {
  for (bool frozen : {false, true}) {
    constexpr Index c = channels<TypeParam>(3);
    const BatchNorm layer("bn", c, {.frozen_statistics = frozen});
    const LayerRun<TypeParam> run(layer, {spec<TypeParam>({2, 2, 3, c})}, Phase::Train, 410);
    const LayerGradients all = run.backward({.skip_dparams = {2, 3}});
    EXPECT_EQ(run.backward({.skip_dparams = {0, 1, 2, 3}}).dx[0], all.dx[0]);
  }
}

TYPED_TEST(Layers, ActivationLayers) {
  for (Activation a : {Activation::Relu, Activation::Relu6})
    for_shapes(3, [&](const Shape& x) {
      SCOPED_TRACE(case_name(x) + activation_suffix(a));
      const ActivationLayer layer("act", a);
      LayerRun<TypeParam> run(layer, {spec<TypeParam>(x)}, Phase::Train, 500);
      // From -3 to 9, between the kinks and held by every type.
      for (double& v : run.x[0]) v = std::floor(4 * (3 + 3 * v)) / 4 + 0.125;
      ASSERT_GT(test::kink_distance(run.x[0], a), test::kKinkDistance);
      check_layer(run, {});
      check_inference<TypeParam>(layer, {spec<TypeParam>(x)}, 501);
    });
}

// Strictly outside its bounds an activation has no gradient, at the bounds neither (as PyTorch).
TYPED_TEST(Layers, ActivationAtItsKinks) {
  const ActivationLayer layer("act", Activation::Relu6);
  LayerRun<TypeParam> run(layer, {spec<TypeParam>({1, 1, 1, 5})}, Phase::Train, 502);
  run.x[0] = {-1, 0, 3, 6, 7};
  run.dy = {1, 1, 1, 1, 1};
  EXPECT_EQ(run.backward().dx[0], (Doubles{0, 0, 1, 0, 0}));
}

TYPED_TEST(Layers, ResidualAdd) {
  for_shapes(3, [&](const Shape& x) {
    SCOPED_TRACE(case_name(x));
    const ResidualAdd layer("add");
    const std::vector<Spec> in = {spec<TypeParam>(x), spec<TypeParam>(x)};
    LayerRun<TypeParam> run(layer, in, Phase::Train, 600);
    check_layer(run, {.dx = {0, 1}});
    check_inference<TypeParam>(layer, in, 601);
  });
}

TYPED_TEST(Layers, GlobalAveragePool) {
  for_shapes(channels<TypeParam>(5), [&](const Shape& x) {
    SCOPED_TRACE(case_name(x));
    const GlobalAveragePool layer("pool");
    LayerRun<TypeParam> run(layer, {spec<TypeParam>(x)}, Phase::Train, 700);
    check_layer(run, {});
    check_inference<TypeParam>(layer, {spec<TypeParam>(x)}, 701);
  });
}

TYPED_TEST(HeadLayers, Dense) {
  for (Activation a : {Activation::None, Activation::Relu})
    for (Index n : {1, 3})
      for (Index k : {1, 6}) {
        SCOPED_TRACE(case_name({n, 1, 1, 7}) + activation_suffix(a));
        const Dense layer("fc", 7, k, a);
        const std::vector<Spec> in = {spec<TypeParam>({n, 1, 1, 7})};
        LayerRun<TypeParam> run(layer, in, Phase::Train, 800);
        expect_clear_of_kinks(Dense("fc", 7, k, Activation::None), run, a);
        check_layer(run, {.dparams = 2});
        check_inference<TypeParam>(layer, in, 801);
      }
}

TYPED_TEST(HeadLayers, Dropout) {
  for (double rate : {0.0, 0.4})
    for (Index n : {1, 3}) {
      const Dropout layer("drop", rate);
      LayerRun<TypeParam> run(layer, {spec<TypeParam>({n, 1, 1, 50})}, Phase::Train, 900);
      check_layer(run, {});
      // Half of the elements and more stay, others not; another step draws anew.
      const Doubles y = run.forward(true);
      const auto zeros = std::ranges::count(y, 0.0);
      EXPECT_EQ(zeros > 0, rate > 0);
      run.step.step = 4;
      EXPECT_EQ(run.forward(true) == y, rate <= 0);
    }
}

TYPED_TEST(HeadLayers, DropoutIsTheIdentityInInference) {
  const Dropout layer("drop", 0.4);
  const std::vector<Spec> in = {spec<TypeParam>({3, 1, 1, 50})};
  const LayerRun<TypeParam> run(layer, in, Phase::Infer, 901);
  EXPECT_EQ(run.forward(false), run.x[0]);
  check_inference<TypeParam>(layer, in, 902);
}

TYPED_TEST(HeadLayers, BceLoss) {
  for (Index n : {1, 3, 8}) {
    const BceLoss layer("loss");
    LayerRun<TypeParam> run(layer, {spec<TypeParam>({n, 1, 1, 1}), spec<TypeParam>({n, 1, 1, 1})},
                            Phase::Train, 1000);
    for (std::size_t i = 0; i < run.x[1].size(); ++i) run.x[1][i] = static_cast<double>(i % 2);
    run.dy = {1};  // the seed: backward does not read it
    check_layer(run, {});
  }
}

TEST(LayerGradient, LayersWithoutAGradientThrow) {
  const ImageNormalize layer("normalize", {0, 0, 0}, {1, 1, 1}, Element::F64);
  ThreadPool pool(1);
  EXPECT_THROW(layer.backward({{pool}}, {}), Error);
}

}  // namespace
}  // namespace dfengine
