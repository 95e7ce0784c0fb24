// Which inverted residual blocks a plan makes one operation.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {
namespace {

using Times = std::function<std::optional<double>(const Node&, const KernelQuery&)>;
using Names = std::set<std::string>;

// A device's kernels and made-up times.
class TimedMaker final : public KernelMaker {
 public:
  explicit TimedMaker(Times times) : times_(std::move(times)) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return kernels_.make(node, query);
  }
  bool has_block(const InvertedResidual& op, const Spec& in) const override {
    return kernels_.has_block(op, in);
  }
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    return times_(node, query);
  }

 private:
  CudaKernelMaker kernels_;
  Times times_;
};

bool is_block(const Node& node) {
  return std::holds_alternative<InvertedResidual>(node.operation);
}

Names blocks(const Plan& plan) {
  Names names;
  for (const Node& node : plan.graph().nodes())
    if (is_block(node)) names.insert(node.name);
  return names;
}

Plan inference(const Graph& graph, const KernelMaker& maker, const PlanOptions& options = {}) {
  return Plan::build(graph, batch_specs(2, 96, Element::F32, false), options, maker);
}

Graph network(double width, Element element = Element::F16) {
  NetworkConfig config;
  config.width = width;
  config.input_size = 96;
  return network_graph(config, element);
}

// Those with at most 96 channels; the first with stem and normalisation.
TEST(BlockFusion, TakesTheBlocksThatHaveAKernel) {
  Names expected = {"features.0.0"};
  for (int block = 2; block <= 13; ++block)
    expected.insert("features." + std::to_string(block) + ".conv.0.0");
  const Plan plan = inference(network(1), CudaKernelMaker());
  EXPECT_EQ(blocks(plan), expected);
  const Node& first = plan.graph().nodes()[0];
  EXPECT_EQ(kind(first.operation), "stem+inverted_residual");
  EXPECT_EQ(plan.spec(first.output).shape, (Shape{2, 48, 48, 16}));
  EXPECT_EQ(kind(plan.graph().nodes()[2].operation), "inverted_residual+add");
  EXPECT_EQ(blocks(inference(network(1, Element::BF16), CudaKernelMaker())), expected);
}

TEST(BlockFusion, NotInFloatAndNotOnTheCpu) {
  EXPECT_EQ(blocks(inference(network(1, Element::F32), CudaKernelMaker())), Names{});
  EXPECT_EQ(blocks(inference(network(1, Element::F32), cpu_backend())), Names{});
}

TEST(BlockFusion, TheFasterFormIsTakenBlockByBlock) {
  const Names all = blocks(inference(network(1), CudaKernelMaker()));
  for (const std::string& slow : all) {
    Names expected = all;
    expected.erase(slow);
    EXPECT_EQ(blocks(inference(network(1), TimedMaker([&](const Node& node, const KernelQuery&) {
                                 return is_block(node) && node.name == slow ? 5.0 : 1.0;
                               }))),
              expected);
  }
}

// What is fused has the parameters of its parts, in their order, and no others are lost.
TEST(BlockFusion, KeepsEveryParameter) {
  const auto names = [](const Graph& graph) {
    std::vector<std::string> all;
    for (const ParamSpec& p : graph.params()) all.push_back(p.name);
    return all;
  };
  const Graph graph = network(1);
  EXPECT_EQ(names(inference(graph, CudaKernelMaker()).graph()), names(graph));
}

// A block with a value inside that somebody wants stays as it is.
TEST(BlockFusion, NotAcrossAValueThatIsWanted) {
  const Names all = blocks(inference(network(1), CudaKernelMaker()));
  for (const char* inside : {"features.3.conv.0.1.relu6", "features.3.conv.1.1.relu6"}) {
    const Graph plain = network(1);
    Graph graph = plain;
    for (const Node& node : plain.nodes())
      if (node.name == inside) graph.mark_output(node.output, "inside");
    Names expected = all;
    expected.erase("features.3.conv.0.0");
    EXPECT_EQ(blocks(inference(graph, CudaKernelMaker())), expected);
  }
  Graph graph = network(1);
  graph.mark_output(graph.nodes()[0].output, "normalized");
  Names expected = all;
  expected.erase("features.0.0");
  EXPECT_EQ(blocks(inference(graph, CudaKernelMaker())), expected);
}

// Frozen blocks of a training plan run in inference form, those that learn do not.
TEST(BlockFusion, InTheFrozenPartOfATrainingPlan) {
  NetworkConfig config;
  config.input_size = 96;
  const Plan plan =
      Plan::build(training_graph(config, Element::F16), batch_specs(2, 96, Element::F32, true),
                  {Phase::Train, from_block(4)}, CudaKernelMaker());
  EXPECT_EQ(blocks(plan), (Names{"features.0.0", "features.2.conv.0.0", "features.3.conv.0.0"}));
}

// The skip is the block's own input, or the block is not one operation.
TEST(BlockFusion, NotWithAnotherSkip) {
  const auto build = [](bool own) {
    Graph g;
    const ValueId x = g.add_input("x");
    const auto folded = [&](const std::string& name, Convolution conv, ValueId in, bool relu6) {
      ValueId y = g.add(name, conv, {in});
      y = g.add(name + ".bn", BatchNorm{.channels = conv.out}, {y});
      return relu6 ? g.add(name + ".relu6", Activate{}, {y}) : y;
    };
    const ValueId before = folded("before", {.in = 16, .out = 16}, x, true);
    ValueId y = folded("expand", {.in = 16, .out = 48}, before, true);
    y = folded("filter", {.in = 48, .out = 48, .groups = 48, .window = {.size = 3}}, y, true);
    y = folded("project", {.in = 48, .out = 16}, y, false);
    g.mark_output(g.add("add", Add{}, {y, own ? before : x}), "y");
    return Plan::build(g, std::vector<Spec>{{{1, 5, 5, 16}, Element::F16}}, {}, CudaKernelMaker());
  };
  EXPECT_EQ(blocks(build(true)), Names{"expand"});
  EXPECT_EQ(blocks(build(false)), Names{});
}

}  // namespace
}  // namespace dfengine::test
