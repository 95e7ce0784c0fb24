// The search for the first layer whose numbers are not finite.
#include "engine/runtime/finite_check.h"

#include <cmath>

#include "layers/batch_norm.h"
#include "layers/pointwise_conv.h"
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

// A pointwise layer of 8 to 8 channels over 2 x 1 x 3 places, and all that its steps write.
struct PointwiseStep {
  PointwiseConv layer{"features.3", "features.3.weight", 8, 8};
  std::vector<Spec> in = {{{2, 1, 3, 8}, Element::F32}};
  std::vector<float> y = std::vector<float>(48), dx = y, dw = std::vector<float>(64);
  std::vector<void*> dparams = {dw.data()};
  BoundStep step{&layer, StepKind::Backward, {}};
  PointwiseStep() {
    step.io.in = in;
    step.io.out = in[0];
    step.io.y = y.data();
    step.io.dx[0] = dx.data();
    step.io.dparams = dparams;
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
TEST(FiniteCheck, LooksAtWhatADeferredBatchNormTellsItsReaders) {
  const LayerPtr norm = BatchNorm("bn", 8, {}).with_deferred_output();
  std::vector<float> saved(32);
  BoundStep step{norm.get(), StepKind::Forward, {}};
  step.io.out = {{2, 1, 3, 8}, Element::F16};
  step.io.saved = saved.data();
  EXPECT_EQ(complaint(step), "");
  saved[15] = INFINITY;
  EXPECT_NE(complaint(step).find("its shift is not finite at value 7"), std::string::npos);
  saved[2] = kNan;
  EXPECT_NE(complaint(step).find("its scale is not finite at value 2"), std::string::npos);

  PointwiseStep s;
  s.step.kind = StepKind::Forward;
  s.y[0] = kNan;
  EXPECT_NE(complaint(s.step).find("all that it read was finite. "), std::string::npos);
  s.step.io.norm = norm->norm_on_load(saved.data());
  EXPECT_NE(complaint(s.step).find("finite, before the batch norm that it applied. "),
            std::string::npos);
}

TEST(FiniteCheck, KnowsTheElementsOfDevices) {
  PointwiseStep s;
  s.step.kind = StepKind::Forward;
  for (const auto& [element, bits] :
       {std::pair{Element::F16, std::uint16_t{0x7C00}}, {Element::BF16, std::uint16_t{0x7F80}}}) {
    s.step.io.out.element = element;
    std::vector<std::uint16_t> y(48);
    s.step.io.y = y.data();
    y[5] = static_cast<std::uint16_t>(bits - 1);  // the largest number
    EXPECT_EQ(complaint(s.step), "");
    y[5] = bits;
    EXPECT_NE(complaint(s.step).find("[0, 0, 0, 5]"), std::string::npos);
  }
}

// One weight in the middle of the network.
void spoil(ParameterStore& store) {
  const int i = store.find("features.5.conv.1.0.weight");
  std::vector<float> values(static_cast<std::size_t>(store.specs()[at(i)].count()), 0.1f);
  values[3] = kNan;
  store.set(i, std::span<const float>(values));
}

TEST(FiniteCheck, ADeviceRunStopsAtTheLayer) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  for (Precision precision : {Precision::Fp16, Precision::Bf16, Precision::Fp32}) {
    SmallRun run({precision, true}, everything(), 0, [](auto& o) { o.check_finite = true; });
    run.steps(1);
    run.state();
    spoil(run.store());
    run.upload();
    try {
      run.steps(1);
      ADD_FAILURE() << "not noticed in " << name_of(precision);
    } catch (const Error& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with("layer features.5.conv.1.0")) << e.what();
    }
  }
}

}  // namespace
}  // namespace dfengine::test
