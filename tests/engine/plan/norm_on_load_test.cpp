// Device plans whose batch norms leave their result to their readers: which do, what that saves,
// and that nothing else changes, bit for bit.
#include <gtest/gtest.h>

#include "engine/bench/step_cost.h"
#include "engine/plan/dump.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/engine/plan/random_graph.h"
#include "tests/engine/runtime/forwarding_backend.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

Plan device_plan(const Graph& graph, const std::vector<Spec>& in, const Trainable& trainable) {
  return Plan::build(graph, in, {Phase::Train, trainable}, CudaKernelMaker());
}

const BatchNorm* norm_of(const Node& node) {
  return std::get_if<BatchNorm>(&node.operation);
}

// Leaves its result to its readers.
bool is_loaded(const Node& node) {
  return norm_of(node) != nullptr && norm_of(node)->output == NormOutput::OnLoad;
}

int loaded_count(const Plan& plan) {
  return static_cast<int>(std::ranges::count_if(plan.graph().nodes(), is_loaded));
}

// The same network, each trained batch norm's result (behind its activation) an output of the
// graph: such a result must be stored. Below the cut an output would keep layers from being folded.
Graph with_stored_norms(Graph graph, const Trainable& trainable) {
  const std::vector<int> readers = graph.reader_counts();
  const std::vector<bool> needs = needs_gradient(graph, trainable);
  const std::vector<Node> nodes = graph.nodes();
  for (const Node& bn : nodes) {
    if (norm_of(bn) == nullptr || !needs[at(bn.output)]) continue;
    const auto fused = std::ranges::find_if(nodes, [&](const Node& next) {
      return next.inputs[0] == bn.output && std::holds_alternative<Activate>(next.operation);
    });
    const bool has_activation = readers[at(bn.output)] == 1 && fused != nodes.end();
    graph.mark_output(has_activation ? fused->output : bn.output, bn.name);
  }
  return graph;
}

Graph half_graph(const NetworkConfig& config) {
  return training_graph(config, Element::F16);
}

Trainable weights_alone() {
  return [](const ParamSpec& p) { return p.role == Role::Weight; };
}

// All 52 batch norms but those that a residual add reads (10 as the branch, 5 as the skip) and the
// last one, which is pooled.
constexpr int kLoaded = 52 - 10 - 5 - 1;

// ---- Which --------------------------------------------------------------------------------------

TEST(NormOnLoadPlan, LoadedWhereEveryReaderIsAConvolutionAboveTheCut) {
  for (int k : {0, 4, 9, block_count()}) {
    SCOPED_TRACE(k);
    const Plan plan = device_plan(half_graph(tiny_config()), batch_specs(2, 64, Element::F32, true),
                                  from_block(k));
    const auto& nodes = plan.graph().nodes();
    for (const Node& node : nodes) {
      if (!std::holds_alternative<BatchNorm>(node.operation)) continue;
      bool expected = true;
      for (const Node& reader : nodes) {
        if (std::ranges::find(reader.inputs, node.output) == reader.inputs.end()) continue;
        const std::string word = kind(reader.operation);
        if (!word.starts_with("pointwise") && !word.starts_with("depthwise")) expected = false;
        EXPECT_EQ(word.find("norm-on-load") != std::string::npos, is_loaded(node)) << reader.name;
      }
      EXPECT_EQ(is_loaded(node), expected) << node.name;
    }
  }
  const Plan full =
      device_plan(half_graph({}), batch_specs(2, 64, Element::F32, true), everything());
  EXPECT_EQ(loaded_count(full), kLoaded);
}

TEST(NormOnLoadPlan, NoneOnTheCpuInInferenceOrAsOutputs) {
  const Graph graph = half_graph(tiny_config());
  const auto in = batch_specs(2, 64, Element::F32, true);
  EXPECT_EQ(loaded_count(device_plan(with_stored_norms(graph, everything()), in, everything())), 0);
  EXPECT_EQ(loaded_count(Plan::build(training_graph(tiny_config()), in,
                                     {Phase::Train, everything()}, cpu_backend())),
            0);
  EXPECT_EQ(loaded_count(device_plan(graph, in, none())), 0);
}

// A second reader that cannot, and one that reads the value as its second input.
TEST(NormOnLoadPlan, OneReaderThatCannotIsEnough) {
  const auto build = [](bool with_add) {
    Graph g;
    ValueId x = g.add_input("x");
    const ValueId targets = g.add_input("targets");
    const Convolution pointwise{.in = 8, .out = 8};
    x = g.add("first", pointwise, {x});
    x = g.add("bn", BatchNorm{.channels = 8}, {x});
    const ValueId a = g.add("a", pointwise, {x});
    ValueId b = g.add("b", Convolution{.in = 8, .out = 8, .groups = 8, .window = {.size = 3}}, {x});
    if (with_add) b = g.add("skip", Add{}, {b, x});
    x = g.add("add", Add{}, {a, b});
    x = g.add("pool", GlobalAveragePool{}, {x});
    x = g.add("fc", Dense{.in = 8, .out = 1}, {x});
    g.mark_output(g.add("loss", BceLoss{}, {x, targets}), "loss");
    return device_plan(g, {{{2, 3, 3, 8}, Element::F32}, {{2, 1, 1, 1}, Element::F32}},
                       everything());
  };
  EXPECT_EQ(loaded_count(build(false)), 1);
  EXPECT_EQ(loaded_count(build(true)), 0);
}

// Of a batch norm that no gradient passes through the result is stored. Here no convolution stands
// before it to fold it into.
TEST(NormOnLoadPlan, OnlyWhereAGradientPasses) {
  Graph g;
  ValueId x = g.add_input("x");
  const ValueId targets = g.add_input("targets");
  x = g.add("bn", BatchNorm{.channels = 8}, {x});
  x = g.add("conv", Convolution{.in = 8, .out = 8}, {x});
  x = g.add("fc", Dense{.in = 8, .out = 1}, {g.add("pool", GlobalAveragePool{}, {x})});
  g.mark_output(g.add("loss", BceLoss{}, {x, targets}), "loss");
  const auto count = [&](const std::string& from) {
    const std::vector<Spec> in = {{{2, 3, 3, 8}, Element::F32}, {{2, 1, 1, 1}, Element::F32}};
    return loaded_count(
        device_plan(g, in, [&](const ParamSpec& p) { return p.name.starts_with(from); }));
  };
  EXPECT_EQ(count("bn."), 1);
  EXPECT_EQ(count("conv."), 0);
  EXPECT_EQ(count("fc."), 0);
}

// ---- Memory -------------------------------------------------------------------------------------

// No buffer holds a loaded result: what the batch norm writes is two vectors in float, and each
// reader names these and the batch norm's own input, in both passes.
TEST(NormOnLoadPlan, ReadersNameTheInputAndTheTwoVectors) {
  const Graph graph = half_graph(tiny_config());
  for (const Trainable& trainable : {everything(), from_block(9), weights_alone()}) {
    const Plan plan = device_plan(graph, batch_specs(2, 64, Element::F32, true), trainable);
    ASSERT_GT(loaded_count(plan), 0);
    for (const Step& step : plan.steps()) {
      const Node& node = plan.node(step.node);
      const bool reads_two = node.inputs.size() == 2;
      const Node* maker = reads_two ? plan.graph().producer(node.inputs[1]) : nullptr;
      if (step.kind == StepKind::Forward && is_loaded(node)) {
        const Index channels = norm_of(node)->channels;
        EXPECT_EQ(plan.buffers()[at(step.y)].bytes, 3 * channels * kFloatBytes) << node.name;
      }
      if (maker == nullptr || !is_loaded(*maker)) continue;
      const Step& made = plan.steps()[at(plan.graph().values()[at(maker->output)].producer)];
      EXPECT_EQ(step.x[0], made.x[0]) << node.name;
      EXPECT_EQ(step.x[1], made.y) << node.name;
    }
  }
}

// The whole network at 224 pixels: at most 60 % of the 9.9 GB that PyTorch was measured to need.
TEST(NormOnLoadPlan, ABatchOf256TrainsInSixtyPercentOfPyTorchsMemory) {
  const Plan plan =
      device_plan(half_graph({}), batch_specs(256, 224, Element::F32, true), everything());
  EXPECT_LE(plan.arena_bytes(), 5'940'000'000);
}

// A loaded result is not written: its batch norm's bytes are those of its input, or of the moments
// that it is given, and of vectors.
TEST(NormOnLoadPlan, CostsNoBytesForALoadedResult) {
  const Plan plan =
      device_plan(half_graph({}), batch_specs(2, 64, Element::F32, true), everything());
  const std::vector<StepCost> costs = step_costs(plan);
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const Node& node = plan.node(i);
    if (norm_of(node) == nullptr) continue;
    const Spec& x = plan.spec(node.inputs[0]);
    const Index parameters = 4 * x.shape.c * kFloatBytes;
    const Index written = is_loaded(node) ? 3 * x.shape.c * kFloatBytes : x.bytes();
    const int moments = plan.steps()[at(i)].moments;
    const Index given = moments == kNone ? 0 : plan.buffers()[at(moments)].bytes;
    const Index passes = (given > 0 ? 0 : 1) + (is_loaded(node) ? 0 : 1);
    EXPECT_EQ(costs[at(i)].bytes,
              given + passes * x.bytes() + written + parameters + plan.kernel(i).needs.saved)
        << node.name;
  }
}

TEST(NormOnLoadPlan, TheDumpTells) {
  const std::string text = dump_text(
      device_plan(half_graph({}), batch_specs(2, 64, Element::F32, true), everything()), true);
  const auto line = [&](const std::string& start) {
    const std::size_t begin = text.find(start);
    return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
  };
  EXPECT_NE(line("forward  features.0.1 ").find(" deferred "), std::string::npos);
  EXPECT_NE(line("forward  features.1.conv.0.0 ").find("depthwise norm-on-load "),
            std::string::npos);
  EXPECT_NE(line("backward features.1.conv.0.0 ").find("depthwise norm-on-load "),
            std::string::npos);
  EXPECT_NE(line("forward  features.0.0 ").find(" stem pixels-on-load "), std::string::npos);
  EXPECT_EQ(line("forward  features.0.0 ").find("norm-on-load"), std::string::npos);
}

// ---- Results ------------------------------------------------------------------------------------

// Sums of gradients are added up in another order where convolutions make them.
class WithoutGradientSums final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  bool makes_gradient_sums(const Convolution&, const Spec&) const override { return false; }
};

// The plan that loads gives the bits of the one that cannot, whatever the arena held before.
void expect_same_step(const Graph& graph, const std::vector<Spec>& in, const Trainable& trainable,
                      Precision precision) {
  const CudaBackend backend({.precision = precision, .graphs = false, .deterministic = true});
  const auto store = trained_like(graph, Element::F32);
  const Inputs inputs = random_inputs(graph, in);
  const PlanOptions options{Phase::Train, trainable};
  const Results stored =
      PlanRun(with_stored_norms(graph, trainable), in, options, *store, backend).run(inputs);
  const WithoutGradientSums plain(backend);
  PlanRun run(graph, in, options, *store, plain);
  run.poison();
  const Results loaded = run.run(inputs);
  EXPECT_EQ(loaded.outputs.at("loss"), stored.outputs.at("loss"));
  EXPECT_EQ(loaded.statistics, stored.statistics);
  ASSERT_EQ(loaded.gradients.size(), stored.gradients.size());
  for (const auto& [name, values] : stored.gradients) {
    EXPECT_EQ(loaded.gradients.at(name), values) << name;
    for (double v : values) ASSERT_TRUE(std::isfinite(v)) << name;
  }
}

// 32 pixels leave 1x1 in the last blocks: as many rows for batch statistics as there are images.
TEST(NormOnLoadRun, TheNetworkTrainsToTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const Graph graph = training_graph(tiny_config());
  const auto in = batch_specs(4, 32, Element::F32, true);
  expect_same_step(graph, in, everything(), Precision::Fp16);
  expect_same_step(graph, in, from_block(9), Precision::Bf16);
}

// Frozen statistics among trained convolutions.
TEST(NormOnLoadRun, FrozenBatchNormsTrainToTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const Graph graph = half_graph(tiny_config());
  const auto in = batch_specs(2, 32, Element::F32, true);
  EXPECT_GT(loaded_count(device_plan(graph, in, weights_alone())), 0);
  expect_same_step(graph, in, weights_alone(), Precision::Fp16);
}

TEST(NormOnLoadRun, RandomGraphsTrainToTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  constexpr Index kChannels = 8;
  const std::vector<Spec> in = {{{2, 3, 3, kChannels}, Element::F32}, {{2, 1, 1, 1}, Element::F32}};
  int loaded = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph graph = random_graph(seed, kChannels);
    loaded += loaded_count(device_plan(graph, in, everything()));
    expect_same_step(graph, in, everything(), Precision::Fp32);
    expect_same_step(graph, in, weights_alone(), Precision::Fp32);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GE(loaded, 10);
}

}  // namespace
}  // namespace dfengine::test
