// Gradient checkpointing: what of a training step is kept, what is made again, and that the
// gradients have the same bits on every backend. Plans on the CPU are compared in
// plan_run_test.cpp.
#include <gtest/gtest.h>

#include <set>

#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

Plan step_plan(const Graph& graph, const KernelMaker& maker, bool grad_checkpoint,
               const Trainable& trainable) {
  constexpr Index kBatch = 2, kSideOfPlan = 224;
  return Plan::build(
      graph, batch_specs(kBatch, kSideOfPlan, Element::F32, true),
      {.phase = Phase::Train, .trainable = trainable, .grad_checkpoint = grad_checkpoint}, maker);
}

std::set<std::string> made_again(const Plan& plan) {
  std::set<std::string> names;
  for (const Step& step : plan.steps()) {
    if (step.kind != StepKind::Again) continue;
    const bool is_new = names.insert(plan.node(step.node).name).second;
    EXPECT_TRUE(is_new) << plan.node(step.node).name << " is made twice";
  }
  return names;
}

// What stands in front of an activation, and behind it where a batch norm writes its result and
// backward reads that.
std::set<std::string> wide(const Plan& plan) {
  std::set<std::string> names;
  for (const Node& n : plan.graph().nodes()) {
    const auto* norm = std::get_if<BatchNorm>(&n.operation);
    if (norm == nullptr || norm->activation == Activation::None) continue;
    names.insert(plan.graph().producer(n.inputs[0])->name);
    const bool is_pooled = std::ranges::any_of(plan.graph().nodes(), [&](const Node& reader) {
      return std::holds_alternative<GlobalAveragePool>(reader.operation) &&
             reader.inputs[0] == n.output;
    });
    if (norm->output == NormOutput::Values && !is_pooled) names.insert(n.name);
  }
  return names;
}

TEST(GradCheckpoint, BlocksKeepWhatTheyHandOn) {
  const Graph floats = training_graph({}), halves = training_graph({}, Element::F16);
  const CudaKernelMaker device;
  const std::pair<const Graph&, const KernelMaker&> places[] = {{floats, cpu_backend()},
                                                                {halves, device}};
  for (const auto& [graph, maker] : places) {
    const Plan plain = step_plan(graph, maker, false, everything());
    const Plan plan = step_plan(graph, maker, true, everything());
    EXPECT_TRUE(made_again(plain).empty());
    EXPECT_EQ(made_again(plan), wide(plan));
    EXPECT_LT(2 * plan.arena_bytes(), plain.arena_bytes());
  }
}

// Below the cut nothing is kept in any case, and inference keeps nothing.
TEST(GradCheckpoint, OnlyWhatBackwardReadsIsMadeAgain) {
  constexpr int kFrozen = 9;
  const Plan plan =
      step_plan(training_graph(tiny_config()), cpu_backend(), true, from_block(kFrozen));
  for (const Step& step : plan.steps()) {
    if (step.kind != StepKind::Again) continue;
    EXPECT_GE(plan.node(step.node).block, kFrozen);
  }
  EXPECT_FALSE(made_again(plan).empty());
}

class GradCheckpointOn : public OnBackend {};
DF_ON_EVERY_BACKEND(GradCheckpointOn);

TEST_P(GradCheckpointOn, StepsHaveTheSameBits) {
  const auto train = [](bool grad_checkpoint) {
    SmallRun run(float_backend(GetParam()), everything(), 0.2, [&](TrainingOptions& o) {
      o.grad_checkpoint = grad_checkpoint;
      o.rest = kImages - 1;
    });
    constexpr int kSteps = 3;
    const std::vector<double> losses = run.steps(kSteps);
    return std::pair(losses, run.state());
  };
  EXPECT_TRUE(train(true) == train(false));
}

}  // namespace
}  // namespace dfengine::test
