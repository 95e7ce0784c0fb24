// Every layer's kernels on every backend: its gradients, its results and its promises about memory
// (layer_checks.h).
#include <memory>

#include "tests/layers/layer_checks.h"

namespace dfengine::test {
namespace {

constexpr Index kSizes[] = {1, 2, 5, 7};

template <class Target>
class Layers : public OnTarget<Target> {
 public:
  static const Backend& on() { return backend_of<Target>(); }
  static Spec spec(const Shape& shape) { return {shape, on().element()}; }
  static constexpr Index channels(Index c) { return test::channels<Target>(c); }
};
using AllTargets =
    testing::Types<Cpu<double>, Cpu<float>, Device<Half>, Device<BFloat16>, Device<float>>;
TYPED_TEST_SUITE(Layers, AllTargets, TargetNames);

// What stands behind the pool is in float on devices.
template <class Target>
class HeadLayers : public Layers<Target> {};
TYPED_TEST_SUITE(HeadLayers, HeadTargets, TargetNames);

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
      const Convolution op{
          .in = 3, .out = 8, .window = {.size = 3, .stride = 2, .padding = padding}};
      LayerRun run(this->on(), op, {this->spec(x)}, Phase::Train, 100);
      check_layer(run, {.dx = {}, .dparams = 1});
      check_inference(this->on(), op, {this->spec(x)}, 101);
    });
}

TYPED_TEST(Layers, StemHasNoDataGradient) {
  const Convolution op{.in = 3, .out = 8, .window = {.size = 3, .stride = 2}};
  const LayerRun run(this->on(), op, {this->spec({1, 5, 5, 3})}, Phase::Train, 100, "features.0.0");
  EXPECT_THROW(run.backward(), Error);
}

TYPED_TEST(Layers, Depthwise) {
  for (Padding padding : kPaddings)
    for (Index stride : {1, 2})
      for_shapes(this->channels(5), [&](const Shape& x) {
        SCOPED_TRACE(case_name(x, "stride " + std::to_string(stride)));
        const Convolution op{.in = x.c,
                             .out = x.c,
                             .groups = x.c,
                             .window = {.size = 3, .stride = stride, .padding = padding}};
        LayerRun run(this->on(), op, {this->spec(x)}, Phase::Train, 200);
        check_layer(run, {.dparams = 1});
        check_inference(this->on(), op, {this->spec(x)}, 201);
      });
}

TYPED_TEST(Layers, Pointwise) {
  for (Index k : {this->channels(1), this->channels(9)})
    for_shapes(this->channels(6), [&](const Shape& x) {
      SCOPED_TRACE(case_name(x, "to " + std::to_string(k)));
      const Convolution op{.in = x.c, .out = k};
      LayerRun run(this->on(), op, {this->spec(x)}, Phase::Train, 300);
      check_layer(run, {.dparams = 1});
      check_inference(this->on(), op, {this->spec(x)}, 301);
    });
}

void check_batch_norm(const Backend& backend, Index c, Activation activation, bool frozen) {
  const std::vector<Shape> shapes = {{4, 1, 1, c}, {1, 2, 2, c}, {1, 1, 5, c}, {1, 7, 5, c},
                                     {3, 2, 2, c}, {3, 5, 1, c}, {3, 5, 7, c}};
  for (const Shape& x : shapes) {
    SCOPED_TRACE(case_name(x, frozen ? "frozen" : "batch") + activation_suffix(activation));
    const std::vector<Spec> in = {{x, backend.element()}};
    const BatchNorm plain{.channels = c, .frozen_statistics = frozen};
    BatchNorm op = plain;
    op.activation = activation;
    LayerRun run(backend, op, in, Phase::Train, 400);
    // Wide enough to reach both bounds of ReLU6.
    for (double& gamma : run.params[kNormScale]) gamma += 2;
    expect_clear_of_kinks(plain, run, activation);
    check_layer(run, {.dparams = 2});
    check_inference(backend, op, in, 401);
  }
}

TYPED_TEST(Layers, BatchNorm) {
  for (Activation a : kActivations) check_batch_norm(this->on(), this->channels(3), a, false);
}

TYPED_TEST(Layers, FrozenBatchNorm) {
  for (Activation a : kActivations) check_batch_norm(this->on(), this->channels(3), a, true);
}

// As PyTorch: by the momentum towards the batch's mean and its unbiased variance. Frozen ones stay.
TYPED_TEST(Layers, BatchNormMovesItsStatistics) {
  const Index c = this->channels(3);
  const Spec x = this->spec({3, 2, 5, c});
  const double m = static_cast<double>(x.shape.rows());
  for (bool frozen : {false, true}) {
    const BatchNorm op{.channels = c, .momentum = 0.3, .frozen_statistics = frozen};
    const LayerRun run(this->on(), op, {x}, Phase::Train, 420);
    const LayerRun exact = run.oracle(oracle_backend());
    const std::vector<Doubles> moved = run.moved();
    for (std::size_t k = 0; k < at(c); ++k) {
      double mean = 0, square = 0;
      for (std::size_t i = k; i < exact.x[0].size(); i += at(c)) mean += exact.x[0][i] / m;
      for (std::size_t i = k; i < exact.x[0].size(); i += at(c))
        square += (exact.x[0][i] - mean) * (exact.x[0][i] - mean);
      const double share = frozen ? 0 : op.momentum;
      const auto expect = [&](NormParam which, double of_batch) {
        const double want = (1 - share) * exact.params[which][k] + share * of_batch;
        // Values lie in [-2, 2).
        EXPECT_NEAR(moved[which][k], want, rounding(run.backend().parameter_element(), m, 4));
      };
      expect(kNormMean, mean);
      expect(kNormVariance, square / (m - 1));
      EXPECT_EQ(moved[kNormScale][k], exact.params[kNormScale][k]);
      EXPECT_EQ(moved[kNormShift][k], exact.params[kNormShift][k]);
    }
  }
}

// No gradient for either parameter: a frozen batch norm above a trained convolution.
TYPED_TEST(Layers, BatchNormWithoutParameterGradients) {
  for (bool frozen : {false, true}) {
    const Index c = this->channels(3);
    const BatchNorm op{.channels = c, .frozen_statistics = frozen};
    const LayerRun run(this->on(), op, {this->spec({2, 2, 3, c})}, Phase::Train, 410);
    const LayerGradients all = run.backward({.skip_dparams = {2, 3}});
    EXPECT_EQ(run.backward({.skip_dparams = {0, 1, 2, 3}}).dx[0], all.dx[0]);
  }
}

TYPED_TEST(Layers, Activations) {
  for (Activation a : {Activation::Relu, Activation::Relu6})
    for_shapes(3, [&](const Shape& x) {
      SCOPED_TRACE(case_name(x) + activation_suffix(a));
      LayerRun run(this->on(), Activate{a}, {this->spec(x)}, Phase::Train, 500);
      // From -3 to 9, between the kinks and held by every type.
      for (double& v : run.x[0]) v = std::floor(4 * (3 + 3 * v)) / 4 + 0.125;
      ASSERT_GT(kink_distance(run.x[0], a), kKinkDistance);
      check_layer(run, {});
      check_inference(this->on(), Activate{a}, {this->spec(x)}, 501);
    });
}

// Strictly outside its bounds an activation has no gradient, at the bounds neither (as PyTorch).
TYPED_TEST(Layers, ActivationAtItsKinks) {
  LayerRun run(this->on(), Activate{Activation::Relu6}, {this->spec({1, 1, 1, 5})}, Phase::Train,
               502);
  run.x[0] = {-1, 0, 3, 6, 7};
  run.dy = {1, 1, 1, 1, 1};
  EXPECT_EQ(run.backward().dx[0], (Doubles{0, 0, 1, 0, 0}));
}

TYPED_TEST(Layers, Add) {
  for_shapes(3, [&](const Shape& x) {
    SCOPED_TRACE(case_name(x));
    const std::vector<Spec> in = {this->spec(x), this->spec(x)};
    LayerRun run(this->on(), Add{}, in, Phase::Train, 600);
    check_layer(run, {.dx = {0, 1}});
    check_inference(this->on(), Add{}, in, 601);
  });
}

TYPED_TEST(Layers, GlobalAveragePool) {
  for_shapes(this->channels(5), [&](const Shape& x) {
    SCOPED_TRACE(case_name(x));
    LayerRun run(this->on(), GlobalAveragePool{}, {this->spec(x)}, Phase::Train, 700);
    check_layer(run, {});
    check_inference(this->on(), GlobalAveragePool{}, {this->spec(x)}, 701);
  });
}

TYPED_TEST(HeadLayers, Dense) {
  for (Activation a : {Activation::None, Activation::Relu})
    for (Index n : {1, 3})
      for (Index k : {1, 6}) {
        SCOPED_TRACE(case_name({n, 1, 1, 7}) + activation_suffix(a));
        const Dense op{.in = 7, .out = k, .activation = a};
        const std::vector<Spec> in = {this->spec({n, 1, 1, 7})};
        LayerRun run(this->on(), op, in, Phase::Train, 800);
        expect_clear_of_kinks(Dense{.in = 7, .out = k}, run, a);
        check_layer(run, {.dparams = 2});
        check_inference(this->on(), op, in, 801);
      }
}

TYPED_TEST(HeadLayers, Dropout) {
  for (double rate : {0.0, 0.4})
    for (Index n : {1, 3}) {
      LayerRun run(this->on(), Dropout{rate}, {this->spec({n, 1, 1, 50})}, Phase::Train, 900);
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
  const std::vector<Spec> in = {this->spec({3, 1, 1, 50})};
  const LayerRun run(this->on(), Dropout{0.4}, in, Phase::Infer, 901);
  EXPECT_EQ(run.forward(false), run.x[0]);
  check_inference(this->on(), Dropout{0.4}, in, 902);
}

TYPED_TEST(HeadLayers, BceLoss) {
  for (Index n : {1, 3, 8}) {
    const Spec vector = this->spec({n, 1, 1, 1});
    LayerRun run(this->on(), BceLoss{}, {vector, vector}, Phase::Train, 1000);
    for (std::size_t i = 0; i < run.x[1].size(); ++i) run.x[1][i] = static_cast<double>(i % 2);
    run.dy = {1};  // the seed: backward does not read it
    check_layer(run, {});
  }
}

// Nobody can ask for the gradient of what has none.
TYPED_TEST(Layers, WhatHasNoGradientHasNoBackward) {
  const LayerRun pixels(this->on(), ImageNormalize{.element = this->on().element()},
                        {{{1, 2, 2, 3}, Element::U8}}, Phase::Train, 1100);
  EXPECT_FALSE(pixels.kernel(true).backward);
  const Index c = this->channels(3);
  const Spec x = this->spec({1, 3, 3, c});
  const Norm norm{.name = "bn"};
  const Convolution pointwise{.in = c, .out = c, .norm = norm};
  const Convolution depthwise{.in = c, .out = c, .groups = c, .window = {.size = 3}, .norm = norm};
  for (const Convolution& op : {pointwise, depthwise}) {
    const LayerRun run(this->on(), op, {x}, Phase::Train, 1101);
    EXPECT_THROW((void)run.kernel(true), UsageError) << kind(op);
  }
}

}  // namespace
}  // namespace dfengine::test
