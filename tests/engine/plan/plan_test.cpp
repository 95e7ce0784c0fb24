// How a plan is laid out: what is folded, where backward is cut, what is trained, where buffers
// lie.
#include "engine/plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/plan/dump.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/base/error.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine {
namespace {

using test::batch_specs;
using test::cpu_backend;
using test::tiny_config;

std::map<std::string, int> kind_counts(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const Node& n : graph.nodes()) ++counts[kind(n.operation)];
  return counts;
}

Plan cpu_plan(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options) {
  return Plan::build(graph, in, options, cpu_backend());
}

Plan inference_plan(Index batch = 2, Index side = 64) {
  return cpu_plan(test::network_graph(tiny_config()), batch_specs(batch, side, Element::F32, false),
                  {});
}

Plan training_plan(const Trainable& trainable, Index batch = 2, Index side = 64,
                   bool grad_checkpoint = false) {
  const PlanOptions options{
      .phase = Phase::Train, .trainable = trainable, .grad_checkpoint = grad_checkpoint};
  return cpu_plan(test::training_graph(tiny_config()), batch_specs(batch, side, Element::F32, true),
                  options);
}

Plan device_training_plan(const Trainable& trainable, bool grad_checkpoint = false) {
  const Graph graph = test::training_graph(tiny_config(), Element::F16);
  return Plan::build(
      graph, batch_specs(2, 64, Element::F32, true),
      {.phase = Phase::Train, .trainable = trainable, .grad_checkpoint = grad_checkpoint},
      CudaKernelMaker());
}

Plan gradient_plan(const std::string& of) {
  Graph graph = test::network_graph(tiny_config());
  for (const Node& n : std::vector(graph.nodes()))
    if (n.name == of) graph.mark_output(n.output, of);
  return cpu_plan(graph, batch_specs(2, 64, Element::F32, false),
                  {.gradients_of = {of}, .seed = "logits"});
}

std::vector<int> freezes() {
  return {0, 1, 4, 9, 18, test::block_count()};
}

TEST(InferencePlan, EverythingIsFolded) {
  const Graph graph = test::network_graph(tiny_config());
  const int adds = kind_counts(graph)["residual_add"];
  ASSERT_GT(adds, 9);
  const Plan plan = inference_plan();
  const std::map<std::string, int> expected = {{"image_normalize", 1},
                                               {"stem+bn+relu6", 1},
                                               {"depthwise+bn+relu6", 17},
                                               {"pointwise+bn+relu6", 17},
                                               {"pointwise+bn", 17 - adds},
                                               {"pointwise+bn+add", adds},
                                               {"global_average_pool", 1},
                                               {"dense+relu", 1},
                                               {"dropout", 1},
                                               {"dense", 1}};
  EXPECT_EQ(kind_counts(plan.graph()), expected);
  EXPECT_EQ(plan.steps().size(), plan.graph().nodes().size());
  EXPECT_TRUE(plan.trained().empty());
  EXPECT_EQ(plan.graph().params().size(), graph.params().size());
}

TEST(InferencePlan, OutputsKeepTheirLayers) {
  // A batch norm whose result is asked for, or that two layers read, cannot vanish.
  Graph graph;
  const ValueId x = graph.add_input("x");
  const ValueId conv = graph.add("pw", Convolution{.in = 8, .out = 8}, {x});
  const ValueId bn = graph.add("bn", BatchNorm{.channels = 8}, {conv});
  const ValueId act = graph.add("act", Activate{Activation::Relu6}, {bn});
  graph.mark_output(bn, "bn");
  graph.mark_output(act, "act");
  const Graph folded = cpu_plan(graph, {{{1, 2, 2, 8}}}, {}).graph();
  ASSERT_EQ(folded.nodes().size(), 2u);
  EXPECT_EQ(kind(folded.nodes()[0].operation), "pointwise+bn");
  EXPECT_EQ(kind(folded.nodes()[1].operation), "relu6");
}

TEST(TrainingPlan, TrainsExactlyWhatIsNotFrozen) {
  for (int k : freezes()) {
    SCOPED_TRACE(k);
    std::vector<std::string> expected, trained;
    const Graph graph = test::training_graph(tiny_config());
    for (const ParamSpec& p : graph.params())
      if (is_learned(p.role) && test::from_block(k)(p)) expected.push_back(p.name);
    const Plan plan = training_plan(test::from_block(k));
    for (const ParamSpec& p : plan.trained()) trained.push_back(p.name);
    EXPECT_EQ(trained, expected);
  }
}

TEST(TrainingPlan, BackwardIsCutBelowTheFirstTrainedBlock) {
  for (int k : freezes()) {
    SCOPED_TRACE(k);
    const Plan plan = training_plan(test::from_block(k));
    const int nodes = plan.forward_steps();
    std::vector<int> reached;
    for (int i = nodes; i < static_cast<int>(plan.steps().size()); ++i) {
      const Step& step = plan.steps()[at(i)];
      ASSERT_EQ(step.kind, StepKind::Backward);
      reached.push_back(step.node);
    }
    // From the loss down to the first node with a trained parameter, and no further.
    int first = 0;
    const Trainable trainable = test::from_block(k);
    const auto trains = [&](const Node& n) {
      return std::ranges::any_of(params(n.operation, n.name), trainable);
    };
    while (!trains(plan.node(first))) ++first;
    ASSERT_FALSE(reached.empty());
    EXPECT_TRUE(std::ranges::is_sorted(reached, std::greater<>()));
    EXPECT_EQ(reached.front(), nodes - 1);
    EXPECT_EQ(reached.back(), first);
    EXPECT_EQ(static_cast<int>(reached.size()), nodes - first);
    for (int dx : plan.steps().back().dx) EXPECT_EQ(dx, kNone);
  }
}

TEST(TrainingPlan, InferenceFormBelowTheCutTrainableFormAbove) {
  for (int k : freezes()) {
    SCOPED_TRACE(k);
    const Plan plan = training_plan(test::from_block(k));
    for (const Node& n : plan.graph().nodes()) {
      const std::string word = kind(n.operation);
      if (n.block < 0) continue;
      if (n.block < k) {
        EXPECT_NE(word.find("+bn"), std::string::npos) << n.name << " " << word;
      } else {
        EXPECT_TRUE((std::set<std::string>{"stem", "depthwise", "pointwise", "batch_norm",
                                           "batch_norm+relu6", "residual_add"})
                        .contains(word))
            << n.name << " " << word;
      }
    }
  }
}

TEST(TrainingPlan, NothingTrainableHasNoBackward) {
  const Plan plan = training_plan(test::none());
  EXPECT_EQ(static_cast<int>(plan.steps().size()), plan.forward_steps());
  EXPECT_TRUE(plan.trained().empty());
}

// Every buffer a step names is alive then, and buffers alive together share no byte.
void expect_sound_memory(const Plan& plan) {
  const auto& buffers = plan.buffers();
  const auto alive = [&](int b, int step) {
    return b == kNone || (buffers[at(b)].first <= step && step <= buffers[at(b)].last);
  };
  for (int s = 0; s < static_cast<int>(plan.steps().size()); ++s) {
    const Step& step = plan.steps()[at(s)];
    for (int b : {step.x[0], step.x[1], step.y, step.saved, step.scratch, step.moments, step.dy,
                  step.gradient_sums, step.gradient_factors, step.dx[0], step.dx[1]})
      EXPECT_TRUE(alive(b, s)) << "step " << s << " names a buffer that is not alive";
  }
  for (const Graph::Output& o : plan.graph().outputs())
    EXPECT_TRUE(alive(plan.value_buffer(o.value), static_cast<int>(plan.steps().size()) - 1));
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_LE(buffers[i].offset + buffers[i].bytes, plan.arena_bytes());
    for (std::size_t j = 0; j < i; ++j) {
      const Buffer &a = buffers[i], &b = buffers[j];
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      EXPECT_TRUE(!together || apart) << a.name << " and " << b.name << " share bytes";
    }
  }
}

TEST(PlanMemory, BuffersAreAliveWhereUsedAndApart) {
  expect_sound_memory(inference_plan());
  for (const bool grad_checkpoint : {false, true})
    for (int k : freezes()) {
      expect_sound_memory(training_plan(test::from_block(k), 2, 64, grad_checkpoint));
      expect_sound_memory(device_training_plan(test::from_block(k), grad_checkpoint));
    }
  for (const char* of : {"features.18.1.relu6", "features.3.add", "features.0.0"})
    expect_sound_memory(gradient_plan(of));
}

// A pointwise convolution may add its second input in place, but not if it convolves it too.
TEST(PlanMemory, NoConvolutionOverwritesWhatItReads) {
  Graph graph;
  const ValueId x = graph.add("act", Activate{Activation::Relu}, {graph.add_input("x")});
  const ValueId conv = graph.add("pw", Convolution{.in = 8, .out = 8}, {x});
  const ValueId bn = graph.add("bn", BatchNorm{.channels = 8}, {conv});
  graph.mark_output(graph.add("add", Add{}, {bn, x}), "y");
  const Plan plan = cpu_plan(graph, {{{1, 2, 2, 8}}}, {});
  ASSERT_EQ(plan.steps().size(), 2u);
  EXPECT_EQ(kind(plan.node(1).operation), "pointwise+bn+add");
  EXPECT_NE(plan.steps()[1].y, plan.steps()[1].x[0]);
}

// The most bytes alive in one step, which no layout can go below.
Index alive_peak(const Plan& plan) {
  Index peak = 0;
  for (int s = 0; s < static_cast<int>(plan.steps().size()); ++s) {
    Index alive = 0;
    for (const Buffer& b : plan.buffers())
      if (b.first <= s && s <= b.last) alive += b.bytes;
    peak = std::max(peak, alive);
  }
  return peak;
}

TEST(PlanMemory, InferenceNeedsNoMoreThanItsWidestStep) {
  const Plan plan = inference_plan();
  EXPECT_EQ(plan.arena_bytes(), alive_peak(plan));
}

TEST(PlanErrors, ShapesThatDoNotFit) {
  const Graph graph = test::training_graph(tiny_config());
  const PlanOptions options{Phase::Train, test::everything()};
  auto in = batch_specs(2, 64, Element::F32, true);
  in[0].shape.c = 4;
  EXPECT_THROW(cpu_plan(graph, in, options), ShapeError);
  in = batch_specs(2, 64, Element::F32, true);
  in[0].element = Element::F32;
  EXPECT_THROW(cpu_plan(graph, in, options), ShapeError);
  in = batch_specs(2, 64, Element::F32, true);
  in[1].shape.n = 3;
  EXPECT_THROW(cpu_plan(graph, in, options), ShapeError);
  in[1] = {{2, 1, 1, 1}, Element::F64};
  EXPECT_THROW(cpu_plan(graph, in, options), ShapeError);
  in.pop_back();
  EXPECT_THROW(cpu_plan(graph, in, options), ShapeError);
  EXPECT_THROW(cpu_plan(graph, batch_specs(0, 64, Element::F32, true), options), ShapeError);
}

// At 64 pixels the last blocks have 2x2 values per picture, at 32 pixels one.
TEST(PlanErrors, OnePictureTrainsUnlessBatchNormSeesOneValue) {
  EXPECT_NO_THROW(training_plan(test::everything(), 1, 64));
  EXPECT_NO_THROW(training_plan(test::everything(), 2, 32));
  try {
    training_plan(test::everything(), 1, 32);
    ADD_FAILURE() << "accepted";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("features.14.conv.1.1"), std::string::npos) << e.what();
  }
  EXPECT_NO_THROW(training_plan(test::from_block(test::block_count()), 1, 32))
      << "frozen statistics";
}

TEST(PlanErrors, GraphsThatCannotBeTrained) {
  const PlanOptions all{Phase::Train, test::everything()};
  const Graph no_loss = behind(test::network_graph({}), "pooled");
  const std::vector<Spec> pooled = {{{2, 1, 1, 1280}}};
  EXPECT_THROW(cpu_plan(no_loss, pooled, all), UsageError);
  EXPECT_THROW(cpu_plan(no_loss, pooled, {Phase::Train, {}}), UsageError);

  Graph shared;
  ValueId x = shared.add_input("x");
  const ValueId targets = shared.add_input("targets");
  const Dense fc{.in = 1, .out = 1};
  x = shared.add("fc", fc, {shared.add("fc", fc, {x})});
  shared.add("loss", BceLoss{}, {x, targets});
  const std::vector<Spec> in = {{{2, 1, 1, 1}}, {{2, 1, 1, 1}}};
  EXPECT_THROW(cpu_plan(shared, in, all), UsageError);
  EXPECT_NO_THROW(cpu_plan(shared, in, {Phase::Train, test::none()}));
}

// A training plan gives the gradients of parameters alone; others begin at an output and end at
// outputs that it depends on, none behind another.
TEST(PlanErrors, GradientsThatCannotBeGiven) {
  const auto training = batch_specs(2, 64, Element::F32, true);
  EXPECT_THROW(cpu_plan(test::training_graph(tiny_config()), training,
                        {Phase::Train, test::everything(), {"logits"}, "loss"}),
               UsageError);
  Graph graph = test::network_graph(tiny_config());
  graph.mark_output(graph.producer(graph.output("pooled"))->inputs[0], "features");
  const auto throws = [&](const std::vector<std::string>& of, const std::string& seed) {
    EXPECT_THROW(cpu_plan(graph, batch_specs(2, 64, Element::F32, false),
                          {.gradients_of = of, .seed = seed}),
                 UsageError);
  };
  throws({"nothing"}, "logits");
  throws({"pooled"}, "nothing");
  throws({"pooled"}, "");
  throws({"logits"}, "pooled");
  throws({"features", "pooled"}, "logits");
}

// Batch norm's kernel cannot add to a gradient: a plan that would need it is refused.
TEST(PlanErrors, BatchNormSharesItsInputWithNoLayerAboveIt) {
  Graph graph;
  const ValueId x = graph.add_input("x");
  const ValueId targets = graph.add_input("targets");
  const ValueId fc = graph.add("fc", Dense{.in = 1, .out = 1}, {x});
  const ValueId bn = graph.add("bn", BatchNorm{.channels = 1}, {fc});
  const ValueId sum = graph.add("add", Add{}, {bn, fc});
  graph.add("loss", BceLoss{}, {sum, targets});
  EXPECT_THROW(
      cpu_plan(graph, {{{2, 1, 1, 1}}, {{2, 1, 1, 1}}}, {Phase::Train, test::everything()}),
      UsageError);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  EXPECT_EQ(begin, text.size()) << "the last line is not ended";
  return lines;
}

TEST(PlanDump, OneLineAStep) {
  const Plan plan = training_plan(test::from_block(9));
  const auto lines = lines_of(dump_text(plan, false));
  ASSERT_EQ(lines.size(), plan.steps().size() + 2);
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const Step& step = plan.steps()[i];
    const Node& node = plan.node(step.node);
    const std::string& line = lines[i + 1];
    EXPECT_NE(line.find(node.name + " "), std::string::npos) << line;
    EXPECT_NE(line.find(kind(node.operation) + " "), std::string::npos) << line;
    EXPECT_NE(line.find(step.kind == StepKind::Forward ? " forward " : " backward "),
              std::string::npos)
        << line;
  }
  EXPECT_NE(lines.back().find(std::to_string(plan.arena_bytes()) + " bytes"), std::string::npos);
}

TEST(PlanDump, DotNamesEveryNodeAndEdge) {
  const Plan plan = training_plan(test::from_block(9));
  const std::string text = dump_dot(plan);
  const auto lines = lines_of(text);
  EXPECT_EQ(lines.front(), "digraph plan {");
  EXPECT_EQ(lines.back(), "}");
  std::set<std::string> declared;
  std::size_t edges = 0, expected_edges = 0;
  for (const Node& n : plan.graph().nodes()) expected_edges += n.inputs.size();
  for (std::size_t i = 3; i + 1 < lines.size(); ++i) {
    const std::string& line = lines[i];
    EXPECT_EQ(line.back(), ';') << line;
    EXPECT_EQ(std::ranges::count(line, '"') % 2, 0) << line;
    const std::string first = line.substr(2, line.find(' ', 2) - 2);
    const std::size_t arrow = line.find(" -> ");
    if (arrow == std::string::npos) {
      EXPECT_TRUE(declared.insert(first).second) << "twice: " << line;
    } else {
      EXPECT_TRUE(declared.contains(first)) << line;
      EXPECT_TRUE(declared.contains(line.substr(arrow + 4, line.size() - arrow - 5))) << line;
      ++edges;
    }
  }
  EXPECT_EQ(declared.size(), plan.graph().nodes().size() + plan.graph().inputs().size());
  EXPECT_EQ(edges, expected_edges);
}

}  // namespace
}  // namespace dfengine
