// Device plans in which convolutions make a part of batch norms' gradients
// (kernels/norm_gradient.h): which do, what that saves, and that a step can be run again.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "engine/bench/step_cost.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/norm_gradient.h"
#include "tests/engine/plan/plan_support.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

using Names = std::set<std::string>;
using Times = std::function<std::optional<double>(const Node&, const KernelQuery&)>;

// A device's kernels, with made-up times; convolutions without sums or gradients on load, if told
// so.
class Maker final : public KernelMaker {
 public:
  explicit Maker(bool sums, bool loads = true, Times times = {})
      : sums_(sums), loads_(loads), times_(std::move(times)) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return kernels_.make(node, query);
  }
  bool loads_norms() const override { return true; }
  bool makes_moments(const Convolution& op, const Spec& in) const override {
    return kernels_.makes_moments(op, in);
  }
  bool makes_gradient_sums(const Convolution& op, const Spec& in) const override {
    return sums_ && kernels_.makes_gradient_sums(op, in);
  }
  bool loads_gradient(const Convolution& op, const Spec& in) const override {
    return loads_ && kernels_.loads_gradient(op, in);
  }
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    return times_ ? times_(node, query) : std::nullopt;
  }

 private:
  CudaKernelMaker kernels_;
  bool sums_, loads_;
  Times times_;
};

const Convolution* conv_of(const Node& node) {
  return std::get_if<Convolution>(&node.operation);
}
const BatchNorm* norm_of(const Node& node) {
  return std::get_if<BatchNorm>(&node.operation);
}
bool makes_sums(const Node& node) {
  return conv_of(node) != nullptr && conv_of(node)->makes_gradient_sums;
}
bool loads_gradient(const Node& node) {
  return conv_of(node) != nullptr && conv_of(node)->gradient_on_load;
}
bool is_given_sums(const Node& node) {
  return norm_of(node) != nullptr && norm_of(node)->gradient_sums_given;
}
bool leaves_gradient(const Node& node) {
  return norm_of(node) != nullptr && norm_of(node)->leaves_gradient;
}

Names names_of(const Plan& plan, bool (*which)(const Node&)) {
  Names names;
  for (const Node& node : plan.graph().nodes())
    if (which(node)) names.insert(node.name);
  return names;
}

Plan plan_of(const KernelMaker& maker, Trainable trainable = everything(),
             Element element = Element::F16) {
  return Plan::build(training_graph(tiny_config(), element), batch_specs(2, 64, Element::F32, true),
                     {Phase::Train, std::move(trainable)}, maker);
}

const Step& backward_of(const Plan& plan, ValueId output) {
  const int node = plan.graph().values()[at(output)].producer;
  return *std::ranges::find_if(
      plan.steps(), [&](const Step& s) { return s.kind == StepKind::Backward && s.node == node; });
}

// ---- Which --------------------------------------------------------------------------------------

// An expansion whose channels one block holds.
bool widens(const Convolution& conv) {
  return conv.groups == 1 && conv.window.size == 1 && conv.in < conv.out && conv.in <= 32 &&
         conv.out <= 192;
}

// Depthwise convolutions whose batch has more values than 32 bits count, of 112x112x96 at 4,096
// pictures, have their gradients one by one.
TEST(NormGradientPlan, NotWhereABatchIsTooLargeToBeCounted) {
  const auto sums_at = [](Index batch) {
    return names_of(
        Plan::build(training_graph({}, Element::F16), batch_specs(batch, 224, Element::F32, true),
                    {Phase::Train, everything()}, CudaKernelMaker()),
        makes_sums);
  };
  Names some = sums_at(4);
  EXPECT_EQ(some.erase("features.2.conv.1.0"), 1u);
  EXPECT_EQ(sums_at(4096), some);
}

// Batch norms that one convolution alone reads as it loads: the stem's, those behind each expansion
// and depthwise convolution, and those of the projections that no residual add reads, unless the
// next expansion has better to do.
TEST(NormGradientPlan, ConvolutionsMakeTheSumsOfWhatTheyAloneLoad) {
  for (const bool whole : {false, true}) {
    SCOPED_TRACE(whole);
    const Plan plan = whole ? Plan::build(training_graph({}, Element::F16),
                                          batch_specs(4, 224, Element::F32, true),
                                          {Phase::Train, everything()}, CudaKernelMaker())
                            : plan_of(CudaKernelMaker());
    Names sums, loads;
    for (const Node& node : plan.graph().nodes()) {
      const Convolution* conv = conv_of(node);
      if (conv == nullptr) continue;
      const bool makes = conv->norm_on_load && !widens(*conv);
      if (makes) sums.insert(node.name);
      const Node* behind = plan.graph().reader(node.output);
      const bool is_stem = conv->groups == 1 && conv->window.size > 1;
      if (is_given_sums(*behind) && (widens(*conv) || is_stem || (conv->groups > 1 && makes)))
        loads.insert(node.name);
    }
    EXPECT_EQ(names_of(plan, makes_sums), sums);
    EXPECT_EQ(names_of(plan, is_given_sums).size(), sums.size());
    EXPECT_EQ(names_of(plan, loads_gradient), loads);
    EXPECT_EQ(names_of(plan, leaves_gradient).size(), loads.size());
    if (whole) {
      EXPECT_EQ(sums.size(), 35u);
      EXPECT_EQ(loads.size(), 1u + 17u + 6u);
    }
  }
}

// The sums live from the reader's step to the batch norm's, the factors from there to the maker's.
TEST(NormGradientPlan, WhatIsHandedOnLivesUntilItIsTaken) {
  const Plan plan = plan_of(CudaKernelMaker());
  const auto index_of = [&](const Step& step) {
    return static_cast<int>(&step - plan.steps().data());
  };
  for (const Node& node : plan.graph().nodes()) {
    if (!is_given_sums(node)) continue;
    SCOPED_TRACE(node.name);
    const Step& given = backward_of(plan, node.output);
    const Step& made = backward_of(plan, plan.graph().reader(node.output)->output);
    ASSERT_NE(given.gradient_sums, kNone);
    EXPECT_EQ(given.gradient_sums, made.gradient_sums);
    const Buffer& sums = plan.buffers()[at(given.gradient_sums)];
    EXPECT_EQ(sums.first, index_of(made));
    EXPECT_EQ(sums.last, index_of(given));
    EXPECT_EQ(sums.bytes % GradientSums::bytes(1, norm_of(node)->channels), 0);
    EXPECT_EQ(given.dx[0], given.dy) << "in place";
    EXPECT_EQ(given.gradient_factors != kNone, leaves_gradient(node));
    if (!leaves_gradient(node)) continue;
    const Step& taken = backward_of(plan, node.inputs[0]);
    EXPECT_EQ(taken.gradient_factors, given.gradient_factors);
    EXPECT_EQ(taken.dy, given.dx[0]);
    EXPECT_EQ(taken.y, given.x[0]);
    EXPECT_EQ(plan.buffers()[at(taken.gradient_factors)].last, index_of(taken));
  }
}

TEST(NormGradientPlan, NoneInFloatOnTheCpuOfFrozenStatisticsOrInSlices) {
  const Trainable weights = [](const ParamSpec& p) { return p.role == Role::Weight; };
  const auto none = [](const Plan& plan) { return names_of(plan, makes_sums).empty(); };
  EXPECT_TRUE(none(plan_of(CudaKernelMaker(), everything(), Element::F32)));
  EXPECT_TRUE(none(plan_of(cpu_backend(), everything(), Element::F32)));
  EXPECT_TRUE(none(plan_of(CudaKernelMaker(), weights)));
  EXPECT_TRUE(none(Plan::build(
      training_graph(tiny_config(), Element::F16), batch_specs(2, 64, Element::F32, true),
      {.phase = Phase::Train, .trainable = everything(), .sliced = true}, CudaKernelMaker())));
}

// Below the cut nobody asks for a gradient.
TEST(NormGradientPlan, ThoseAboveTheCut) {
  const Plan plan = plan_of(CudaKernelMaker(), from_block(9));
  EXPECT_FALSE(names_of(plan, makes_sums).empty());
  for (int i = 0; i < plan.forward_steps(); ++i)
    if (makes_sums(plan.node(i)) || is_given_sums(plan.node(i))) {
      EXPECT_TRUE(plan.runs_backward(i)) << plan.node(i).name;
    }
}

// Of two convolutions that load one batch norm each has a part of the gradient alone.
TEST(NormGradientPlan, NotWhereTwoReadTheResult) {
  Graph g;
  ValueId x = g.add("conv", Convolution{.in = 8, .out = 8}, {g.add_input("x")});
  x = g.add("bn", BatchNorm{.channels = 8}, {x});
  for (const char* name : {"a", "b"})
    g.mark_output(g.add(name, Convolution{.in = 8, .out = 8}, {x}), name);
  const auto always = [](const Alternative&) { return true; };
  const Graph loaded = load_norms(g, std::vector<bool>(g.values().size(), true), always);
  const Graph handed = load_gradients(hand_on_gradient_sums(loaded, always), always);
  for (const Node& node : handed.nodes()) EXPECT_FALSE(makes_sums(node) || is_given_sums(node));
}

// ---- By time ------------------------------------------------------------------------------------

TEST(NormGradientPlan, TheFasterFormIsTakenSiteBySite) {
  const Names sums = names_of(plan_of(Maker(true)), makes_sums);
  const Names loads = names_of(plan_of(Maker(true)), loads_gradient);
  const auto slow = [](bool (*which)(const Node&), const std::string& name) {
    return Maker(true, true, [=](const Node& node, const KernelQuery&) -> std::optional<double> {
      return which(node) && (name.empty() || node.name == name) ? 5.0 : 1.0;
    });
  };
  EXPECT_EQ(names_of(plan_of(slow(makes_sums, "")), makes_sums), Names{});
  EXPECT_EQ(names_of(plan_of(slow(loads_gradient, "")), loads_gradient), Names{});
  EXPECT_EQ(names_of(plan_of(slow(loads_gradient, "")), makes_sums), sums);
  for (const std::string& name : sums) {
    Names expected = sums;
    expected.erase(name);
    EXPECT_EQ(names_of(plan_of(slow(makes_sums, name)), makes_sums), expected);
  }
  for (const std::string& name : loads) {
    Names expected = loads;
    expected.erase(name);
    EXPECT_EQ(names_of(plan_of(slow(loads_gradient, name)), loads_gradient), expected);
  }
}

// A batch norm is timed with as many moments and sums as its neighbours leave.
TEST(NormGradientPlan, TheBatchNormIsTimedWithWhatItIsGiven) {
  Index left = 0;
  int pairs = 0;
  plan_of(Maker(true, false, [&](const Node& node, const KernelQuery& query) {
    if (makes_sums(node)) left = CudaKernelMaker().make(node, query).needs.gradient_sums;
    EXPECT_EQ(query.gradient_sums, is_given_sums(node) ? left : 0) << node.name;
    if (is_given_sums(node)) {
      EXPECT_GT(query.moments, 0) << node.name;
      ++pairs;
    }
    return std::optional(1.0);
  }));
  EXPECT_EQ(pairs, static_cast<int>(names_of(plan_of(Maker(true)), makes_sums).size()));
}

// ---- Bytes --------------------------------------------------------------------------------------

// A batch norm that is given sums passes once over x and dy, and one that leaves the rest not at
// all; the convolution that loads its gradient reads its own result beside it.
TEST(NormGradientPlan, SavePassesOverTheTensors) {
  const Plan plain = plan_of(Maker(false)), plan = plan_of(Maker(true));
  const std::vector<StepCost> before = step_costs(plain), after = step_costs(plan);
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = at(plan.forward_steps()); i < after.size(); ++i) {
    const Step& step = plan.steps()[i];
    const Node& node = plan.node(step.node);
    Index expected = before[i].bytes;
    for (const int handed : {step.gradient_sums, step.gradient_factors})
      if (handed != kNone) expected += plan.buffers()[at(handed)].bytes;
    if (is_given_sums(node)) expected -= 2 * plan.spec(node.inputs[0]).bytes();
    if (leaves_gradient(node)) expected -= 3 * plan.spec(node.inputs[0]).bytes();
    if (loads_gradient(node)) expected += plan.spec(node.output).bytes();
    EXPECT_EQ(after[i].bytes, expected) << node.name;
  }
}

// At the size of a whole step what is handed on fits where nothing else lies.
TEST(NormGradientPlan, TakesNoMemoryOfAStepOf256) {
  const auto arena = [](bool sums) {
    return Plan::build(training_graph({}, Element::F16), batch_specs(256, 224, Element::F32, true),
                       {Phase::Train, everything()}, Maker(sums))
        .arena_bytes();
  };
  EXPECT_LE(arena(true), arena(false));
}

// ---- Results ------------------------------------------------------------------------------------

// device_network_test.cpp holds them against double. Fewer rows in the last blocks would have next
// to no variance, and gradients beyond what 16 bits hold.
TEST(NormGradientDeviceRun, AStepGivesItsBitsAgain) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  for (Precision precision : {Precision::Fp16, Precision::Bf16}) {
    SCOPED_TRACE(name_of(precision));
    const CudaBackend backend({.precision = precision, .graphs = false, .deterministic = true});
    const Graph graph = training_graph(tiny_config(), backend.element());
    const std::vector<Spec> in = batch_specs(4, 64, Element::F32, true);
    const auto store = trained_like(graph, Element::F32);
    const Inputs inputs = random_inputs(graph, in);
    PlanRun run(graph, in, {Phase::Train, everything()}, *store, backend);
    EXPECT_GT(names_of(run.plan(), loads_gradient).size(), 17u);
    run.poison();
    const Results got = run.run(inputs);
    EXPECT_TRUE(run.run(inputs) == got);
    for (const auto& [name, values] : got.gradients)
      for (double v : values) ASSERT_TRUE(std::isfinite(v)) << name;
  }
}

}  // namespace
}  // namespace dfengine::test
