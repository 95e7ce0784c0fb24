// The kernels that a device's plan chooses: asked for where there is a choice, booked with their
// scratch, shown by the dump.
#include <set>

#include "engine/plan/dump.h"
#include "kernels/cuda/pointwise/pointwise_backward_choice.h"
#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

// Of a full-sized network: nothing of it is run.
Plan device_plan(cuda::Tuner* tuner, Precision precision = Precision::Fp16,
                 Phase phase = Phase::Train) {
  const Element element = element_of(precision);
  const CudaKernelMaker maker(tuner);
  if (phase == Phase::Infer)
    return Plan::build(network_graph({}, element), batch_specs(32, 224, Element::F32, false), {},
                       maker);
  return Plan::build(training_graph({}, element), batch_specs(32, 224, Element::F32, true),
                     {phase, everything()}, maker);
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

TEST(DeviceChoice, EachConvolutionHasOneForEachLaunch) {
  Falling falling;
  const Plan plan = device_plan(nullptr), timed = device_plan(&falling.tuner);
  int pointwise = 0;
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const Node& node = plan.node(i);
    const auto* conv = std::get_if<Convolution>(&node.operation);
    const bool dense = conv != nullptr && conv->groups == 1;
    const bool is_pointwise = dense && conv->window.size == 1, is_stem = dense && !is_pointwise;
    const bool is_depthwise = conv != nullptr && !dense;
    pointwise += is_pointwise;
    const auto is_timed = [](const std::string& name) { return name.find(" us") != name.npos; };
    const KernelNames &by_rule = plan.kernel(i).names, &by_time = timed.kernel(i).names;
    for (const auto launch :
         {&KernelNames::forward, &KernelNames::data_gradient, &KernelNames::weight_gradient}) {
      // Both gradients in one launch have one kernel of ours.
      const bool both = conv != nullptr && conv->gradient_on_load;
      const bool chosen =
          is_depthwise || (is_pointwise && (launch == &KernelNames::forward || !both));
      EXPECT_EQ((by_rule.*launch).ends_with(", by rule"), chosen) << node.name;
      // The stem has one kernel of ours, but a library may have more.
      if (launch == &KernelNames::forward && is_stem) continue;
      EXPECT_EQ(is_timed(by_time.*launch), chosen) << node.name;
    }
    if (!is_pointwise) continue;
    const auto p = PointwiseProblem::make(plan.spec(node.output).shape.rows(), conv->in, conv->out);
    const bool loads = conv->norm_on_load.has_value();
    EXPECT_EQ(plan.kernel(i).needs.forward_scratch,
              cuda::choose_pointwise_forward<Half>(nullptr, p, {}, loads).scratch);
    if (conv->gradient_on_load) continue;
    const Index apart =
        std::max(cuda::choose_pointwise_backward_data<Half>(nullptr, p).scratch,
                 cuda::choose_pointwise_backward_weight<Half>(nullptr, p, loads).scratch);
    EXPECT_EQ(plan.kernel(i).needs.backward_scratch,
              conv->makes_gradient_sums ? cuda::choose_pointwise_backward<Half>(nullptr, p).scratch
                                        : apart)
        << node.name;
  }
  EXPECT_EQ(pointwise, 34);
  const Plan floats = device_plan(nullptr, Precision::Fp32);
  for (int i = 0; i < floats.forward_steps(); ++i) EXPECT_EQ(floats.kernel(i).names.forward, "own");
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
  const std::string by_rule = dump_text(device_plan(nullptr), true);
  EXPECT_NE(by_rule.find("256x16x32, by rule\n"), std::string::npos) << by_rule;
  EXPECT_NE(by_rule.find("dx both gradients, by rule; dw both gradients"), std::string::npos)
      << by_rule;
  EXPECT_NE(by_rule.find("dx 64x64x64, by rule; dw "), std::string::npos) << by_rule;
  EXPECT_NE(by_rule.find("  own\n"), std::string::npos) << by_rule;
  EXPECT_EQ(by_rule.find(" us"), std::string::npos) << by_rule;

  Falling falling;
  const std::string timed = dump_text(device_plan(&falling.tuner), true);
  EXPECT_NE(timed.find(" us (rule: "), std::string::npos) << timed;
  EXPECT_NE(timed.find(": 64x64x64: made-up reason\n"), std::string::npos) << timed;
}

}  // namespace
}  // namespace dfengine::test
