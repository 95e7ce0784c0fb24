// A batch norm that leaves its result to the convolution behind it: both layers' promises, the bits
// of the pair that stores the result, and the double chain's numbers.
#include "tests/layers/layer_checks.h"

namespace dfengine::test {
namespace {

// A batch norm and the convolution that reads it, run one behind the other.
struct Pair {
  LayerRun norm, conv;

  // y, then dw, dx, dgamma, dbeta and the moved statistics.
  std::vector<Doubles> everything() const {
    const bool loads = conv.x.size() == 2;
    LayerRun second = conv;
    if (loads) second.x[0] = norm.x[0];
    second.x[loads ? 1 : 0] = norm.forward(true);
    LayerGradients g = second.backward(
        {.skip_dx = loads ? std::vector<std::size_t>{0} : std::vector<std::size_t>{}});
    LayerRun first = norm;
    first.dy = g.dx[loads ? 1 : 0];
    LayerGradients h = first.backward({.skip_dparams = {kNormMean, kNormVariance}});
    const std::vector<Doubles> moved = norm.moved();
    return {second.forward(true),  g.dparams[0],          h.dx[0],
            h.dparams[kNormScale], h.dparams[kNormShift], moved[kNormMean],
            moved[kNormVariance]};
  }

  Pair oracle() const { return {norm.oracle(oracle_backend()), conv.oracle(oracle_backend())}; }
  void shake(const Shake& shake) {
    for (Doubles* v :
         {&norm.x[0], &norm.params[kNormScale], &norm.params[kNormShift], &norm.params[kNormMean],
          &norm.params[kNormVariance], &conv.params[0], &conv.dy})
      shake(*v);
  }
};

struct Case {
  Shape x;
  Convolution conv;
  Activation activation;
  bool frozen;
};

// loads: with the norm on load; else the result is stored. The same numbers.
Pair pair_of(const Backend& backend, const Case& c, bool loads) {
  const Spec x{c.x, backend.element()};
  BatchNorm norm{.channels = c.x.c, .activation = c.activation, .frozen_statistics = c.frozen};
  Convolution conv = c.conv;
  std::vector<Spec> in = {x};
  if (loads) {
    norm.output = NormOutput::OnLoad;
    conv.norm_on_load = c.activation;
    in.push_back(infer(norm, "bn", in));
  }
  Pair pair{LayerRun(backend, norm, {x}, Phase::Train, 400, "bn"),
            LayerRun(backend, conv, in, Phase::Train, 500, "conv")};
  // Wide enough to reach both bounds of ReLU6.
  for (double& gamma : pair.norm.params[kNormScale]) gamma += 2;
  // Whatever the number of inputs was that drew before.
  const LayerRun one(backend, c.conv, {x}, Phase::Train, 500, "conv");
  pair.conv.params = one.params;
  pair.conv.dy = one.dy;
  return pair;
}

// Pointwise and both depthwise strides, of batch and frozen statistics, with every activation.
template <class Body>
void for_cases(Body&& body) {
  constexpr Index c = 16;
  const auto depthwise = [](Index stride, Padding padding) {
    return Convolution{.in = c,
                       .out = c,
                       .groups = c,
                       .window = {.size = 3, .stride = stride, .padding = padding}};
  };
  for (const Convolution& conv : {Convolution{.in = c, .out = 24}, depthwise(1, Padding::Torch),
                                  depthwise(2, Padding::TfSame)})
    for (Activation activation : kActivations)
      for (bool frozen : {false, true}) {
        SCOPED_TRACE(kind(conv) + activation_suffix(activation) + (frozen ? " frozen" : ""));
        body(Case{{2, 5, 6, c}, conv, activation, frozen});
      }
}

template <class Target>
class NormOnLoad : public OnTarget<Target> {
 public:
  static const Backend& on() { return backend_of<Target>(); }
};
using DeviceTargets = testing::Types<Device<Half>, Device<BFloat16>, Device<float>>;
TYPED_TEST_SUITE(NormOnLoad, DeviceTargets, TargetNames);

TYPED_TEST(NormOnLoad, BothLayersKeepTheirPromises) {
  for_cases([&](const Case& c) {
    Pair pair = pair_of(this->on(), c, true);
    check_promises(pair.norm, {.dparams = 2});
    // Values that the batch norm would write, and its input, whose gradient is the batch norm's.
    pair.conv.x = {pair.norm.x[0], pair.norm.forward(true)};
    check_promises(pair.conv, {.dx = {1}, .dparams = 1});
  });
}

TYPED_TEST(NormOnLoad, HasTheBitsOfTheStoredResult) {
  for_cases([&](const Case& c) {
    const std::vector<Doubles> loaded = pair_of(this->on(), c, true).everything();
    const std::vector<Doubles> stored = pair_of(this->on(), c, false).everything();
    for (std::size_t k = 0; k < stored.size(); ++k)
      EXPECT_EQ(loaded[k], stored[k]) << "result " << k;
  });
}

// In 16 bits what lies between the two layers is rounded to them, so that all that goes in is
// shaken as much; there a kink could be crossed, and the bits above say the rest.
TYPED_TEST(NormOnLoad, EqualsTheDoubleChain) {
  using T = typename TypeParam::Value;
  for_cases([&](const Case& c) {
    if (sizeof(T) < 4 && c.activation != Activation::None) return;
    const Pair loaded = pair_of(this->on(), c, true);
    const Pair exact = pair_of(this->on(), c, false).oracle();
    const BatchNorm plain{.channels = c.x.c, .frozen_statistics = c.frozen};
    expect_clear_of_kinks(plain, exact.norm, c.activation);
    const Results want = exact.everything();
    const std::vector<double> allowed =
        rounding_condition(unit_roundoff<T>(), want, [&](const Shake& shake) {
          Pair noisy = exact;
          noisy.shake(shake);
          return noisy.everything();
        });
    expect_results(loaded.everything(), want, allowed, this->on().element());
  });
}

}  // namespace
}  // namespace dfengine::test
