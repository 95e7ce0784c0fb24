// The kernels that a device's plan chooses: asked for where there is a choice, booked with their
// scratch, shown by the dump.
#include <set>

#include "engine/plan/dump.h"
#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

// Of a full-sized network: nothing of it is run.
Plan device_plan(cuda::Tuner* tuner, Precision precision = Precision::Fp16,
                 Phase phase = Phase::Train) {
  const Spec specs[] = {{{32, 224, 224, 3}, Element::U8}, {{32, 1, 1, 1}, Element::F32}};
  if (phase == Phase::Infer)
    return Plan::build(make_mobilenet_v2({}, element_of(precision)), std::span(specs, 1),
                       {phase, {}, DeviceKind::Cuda, tuner});
  return Plan::build(make_mobilenet_v2_training({}, element_of(precision)), specs,
                     {phase, everything(), DeviceKind::Cuda, tuner});
}

// Later candidates are faster, but "64x64x64" cannot run.
struct Falling {
  std::set<std::string> problems = {};
  cuda::Tuner tuner{[this](const cuda::TunerProblem& problem) -> cuda::Measure {
    EXPECT_TRUE(problems.insert(problem.key).second) << problem.key << " is timed twice";
    return [us = 1000.0](const cuda::Candidate& c) mutable {
      if (c.name == "64x64x64") throw DeviceError("made-up reason");
      return us -= 1;
    };
  }};
};

TEST(DeviceChoice, EachPointwiseConvolutionHasOneForEachLaunch) {
  const Plan plan = device_plan(nullptr);
  const auto& nodes = plan.graph().nodes();
  int pointwise = 0;
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const LayerPlan& layer = plan.layer_plan(i);
    const KernelChoices& choices = layer.choices;
    const std::string kind = nodes[at(i)].layer->kind();
    const bool is_pointwise = kind.starts_with("pointwise");
    pointwise += is_pointwise;
    EXPECT_EQ(choices.forward != nullptr, is_pointwise || kind == "stem") << kind;
    EXPECT_EQ(choices.data_gradient != nullptr, is_pointwise) << kind;
    EXPECT_EQ(choices.weight_gradient != nullptr, is_pointwise) << kind;
    if (!is_pointwise) continue;
    EXPECT_FALSE(choices.forward->timed);
    EXPECT_EQ(layer.forward_scratch, choices.forward->scratch);
    EXPECT_EQ(layer.backward_scratch, choices.weight_gradient->scratch);
  }
  EXPECT_EQ(pointwise, 34);
  const Plan floats = device_plan(nullptr, Precision::Fp32);
  for (int i = 0; i < floats.forward_steps(); ++i) {
    const auto& choice = floats.layer_plan(i).choices.forward;
    EXPECT_TRUE(choice == nullptr || choice->name == "own");
  }
}

TEST(DeviceChoice, EqualProblemsAreTimedOnceForAllPlans) {
  Falling falling;
  device_plan(&falling.tuner);
  const std::size_t problems = falling.problems.size();
  EXPECT_GT(problems, 40u);
  device_plan(&falling.tuner);
  EXPECT_EQ(falling.problems.size(), problems);
  device_plan(&falling.tuner, Precision::Fp16, Phase::Infer);  // other epilogues
  EXPECT_GT(falling.problems.size(), problems);
}

TEST(DeviceChoice, TheDumpShowsWhatWasChosenAndHow) {
  const std::string by_rule = dump_text(device_plan(nullptr));
  EXPECT_NE(by_rule.find("256x16x32, by rule\n"), std::string::npos) << by_rule;
  EXPECT_NE(by_rule.find("dx 256x32x32, by rule; dw "), std::string::npos) << by_rule;
  EXPECT_NE(by_rule.find("  own\n"), std::string::npos) << by_rule;
  EXPECT_EQ(by_rule.find(" us"), std::string::npos) << by_rule;

  Falling falling;
  const std::string timed = dump_text(device_plan(&falling.tuner));
  EXPECT_NE(timed.find(" us (rule: "), std::string::npos) << timed;
  EXPECT_NE(timed.find(": 64x64x64: made-up reason\n"), std::string::npos) << timed;
}

}  // namespace
}  // namespace dfengine::test
