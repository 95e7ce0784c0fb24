// The search for the first layer whose numbers are not finite.
#include "engine/runtime/finite_check.h"

#include <cmath>

#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

const float kNan = std::nanf("");

std::span<const std::byte> as_it_lies(const void* memory, Index bytes) {
  return {static_cast<const std::byte*>(memory), static_cast<std::size_t>(bytes)};
}

// "" when everything is finite.
std::string complaint(const BoundStep& step, bool gradients = true) {
  try {
    require_finite(step, gradients, as_it_lies);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// A pointwise convolution of 8 to 8 channels over 2 x 1 x 3 places, and all that its steps write.
struct PointwiseStep {
  static constexpr Spec kValue{{2, 1, 3, 8}, Element::F32};
  Node node{"features.3", Convolution{.in = 8, .out = 8}, {0}, 1};
  std::vector<float> y = std::vector<float>(48), dx = y, dw = std::vector<float>(64);
  std::vector<Place> dparams = {{dw.data()}};
  BoundStep step{.node = &node,
                 .kind = StepKind::Backward,
                 .in = {kValue},
                 .gradients = {kValue},
                 .out = kValue,
                 .out_gradient = kValue,
                 .forward = {},
                 .backward = {}};
  PointwiseStep() {
    step.forward.y = {y.data()};
    step.backward.dx[0] = {dx.data()};
    step.backward.dparams = dparams;
  }
};

TEST(FiniteCheck, NamesLayerTensorAndPlace) {
  PointwiseStep s;
  s.y[30] = kNan;
  EXPECT_EQ(complaint(s.step), "");  // forward wrote that
  s.dw[63] = INFINITY;
  EXPECT_NE(complaint(s.step).find("the gradient of features.3.weight is not finite at value 63"),
            std::string::npos)
      << complaint(s.step);
  s.dx[47] = -INFINITY;
  EXPECT_NE(complaint(s.step).find("layer features.3 (pointwise), backward: the gradient of input "
                                   "0 [2, 1, 3, 8] is not finite at [1, 0, 2, 7]"),
            std::string::npos)
      << complaint(s.step);
  EXPECT_EQ(complaint(s.step, false), "");  // left to the loss scale
  s.step.kind = StepKind::Forward;
  EXPECT_NE(
      complaint(s.step).find("forward: its output [2, 1, 3, 8] is not finite at [1, 0, 0, 6]"),
      std::string::npos)
      << complaint(s.step);
  s.y[30] = 0;
  EXPECT_EQ(complaint(s.step), "");
}

// A batch norm that leaves its result to its readers, and one of these.
TEST(FiniteCheck, LooksAtWhatABatchNormTellsItsReaders) {
  const Node norm{"bn", BatchNorm{.channels = 8, .output = NormOutput::OnLoad}, {0}, 1};
  const Spec half{{2, 1, 3, 8}, Element::F16}, told{{1, 1, 3, 8}, Element::F32};
  std::vector<float> values(24);
  BoundStep step{.node = &norm,
                 .in = {half},
                 .gradients = {half},
                 .out = told,
                 .out_gradient = told,
                 .forward = {},
                 .backward = {}};
  step.forward.y = {values.data()};
  EXPECT_EQ(complaint(step), "");
  values[23] = INFINITY;
  EXPECT_NE(complaint(step).find("layer bn"), std::string::npos) << complaint(step);
  EXPECT_NE(complaint(step).find("its output [1, 1, 3, 8] is not finite at [0, 0, 2, 7]"),
            std::string::npos)
      << complaint(step);
  values[2] = kNan;
  EXPECT_NE(complaint(step).find("[0, 0, 0, 2]"), std::string::npos) << complaint(step);

  // The gradient of what it tells is that of its result.
  PointwiseStep s;
  s.node.operation = Convolution{.in = 8, .out = 8, .norm_on_load = Activation::Relu6};
  s.node.inputs = {0, 1};
  s.step.in = {s.kValue, told};
  s.step.gradients = {s.kValue, s.kValue};
  s.step.backward.dx = {Place{}, Place{s.dx.data()}};
  EXPECT_EQ(complaint(s.step), "");
  s.dx[47] = kNan;
  EXPECT_NE(
      complaint(s.step).find("the gradient of input 1 [2, 1, 3, 8] is not finite at [1, 0, 2, 7]"),
      std::string::npos)
      << complaint(s.step);
}

TEST(FiniteCheck, KnowsTheElementsOfDevices) {
  PointwiseStep s;
  s.step.kind = StepKind::Forward;
  for (const auto& [element, bits] :
       {std::pair{Element::F16, std::uint16_t{0x7C00}}, {Element::BF16, std::uint16_t{0x7F80}}}) {
    s.step.out.element = element;
    std::vector<std::uint16_t> y(48);
    s.step.forward.y = {y.data()};
    y[5] = static_cast<std::uint16_t>(bits - 1);  // the largest number
    EXPECT_EQ(complaint(s.step), "");
    y[5] = bits;
    EXPECT_NE(complaint(s.step).find("[0, 0, 0, 5]"), std::string::npos);
  }
}

// One weight in the middle of the network.
void spoil(ParameterStore& store) {
  const int i = store.find("features.5.conv.1.0.weight");
  std::vector<float> values(at(store.specs()[at(i)].count()), 0.1f);
  values[3] = kNan;
  store.set(i, std::span<const float>(values));
}

void expect_stopped(std::unique_ptr<Backend> backend) {
  const Element element = backend->element();
  SmallRun run(std::move(backend), everything(), 0, [](auto& o) { o.check_finite = true; });
  run.steps(1);
  run.state();
  spoil(run.store());
  run.upload();
  try {
    run.steps(1);
    ADD_FAILURE() << "not noticed in element " << static_cast<int>(element);
  } catch (const Error& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with("layer features.5.conv.1.0")) << e.what();
  }
}

TEST(FiniteCheck, ARunStopsAtTheLayer) {
  expect_stopped(float_backend(DeviceKind::Cpu));
}

TEST(FiniteCheck, ADeviceRunStopsAtTheLayer) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  for (Precision precision : {Precision::Fp16, Precision::Bf16, Precision::Fp32})
    expect_stopped(std::make_unique<CudaBackend>(DeviceConfig{precision, true}));
}

}  // namespace
}  // namespace dfengine::test
