// What a plan computes: the same bits as a run that shares no memory, whatever lay there before;
// the unfolded network's numbers; the true gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "tests/engine/plan/naive_run.h"
#include "tests/engine/plan/random_graph.h"

namespace dfengine {
namespace {

using test::batch_specs;
using test::cpu_backend;

using test::Inputs;
using test::NaiveRun;
using test::network_graph;
using test::PlanRun;
using test::Results;
using test::tiny_config;
using test::training_graph;

// Runs the plan twice, the second time over NaN, in training once more with what is made again for
// backward, and its layers once with memory of their own.
// Returns the results.
Results expect_same_bits(const Graph& graph, const std::vector<Spec>& in,
                         const PlanOptions& options, Element element) {
  const Inputs inputs = test::random_inputs(graph, in);
  const auto store = test::trained_like(graph, element);
  const Results first = PlanRun(graph, in, options, *store).run(inputs);
  PlanRun poisoned(graph, in, options, *store);
  poisoned.poison();
  EXPECT_EQ(poisoned.run(inputs), first) << "depends on what the arena held before";
  if (options.phase == Phase::Train) {
    PlanOptions checkpointed = options;
    checkpointed.grad_checkpoint = true;
    PlanRun again(graph, in, checkpointed, *store);
    again.poison();
    EXPECT_EQ(again.run(inputs), first) << "a value was made again otherwise";
    EXPECT_LE(again.plan().arena_bytes(), poisoned.plan().arena_bytes());
  }
  const Graph& planned = poisoned.plan().graph();
  const Results naive = NaiveRun(planned, in, options, *store).run(inputs);
  EXPECT_EQ(naive.outputs, first.outputs) << "a value was overwritten too early";
  EXPECT_EQ(naive.gradients, first.gradients) << "a gradient or a saved value was overwritten";
  EXPECT_EQ(naive.statistics, first.statistics) << "running statistics";
  for (const auto& [name, values] : first.outputs)
    for (double v : values) EXPECT_TRUE(std::isfinite(v)) << name;
  return first;
}

TEST(PlanRun, InferenceHasTheBitsOfARunWithoutSharedMemory) {
  const Graph graph = network_graph(tiny_config());
  expect_same_bits(graph, batch_specs(3, 64, Element::F32, false), {}, Element::F32);
  const Graph doubles = network_graph(tiny_config(), Element::F64);
  expect_same_bits(doubles, batch_specs(1, 64, Element::F64, false), {}, Element::F64);
}

TEST(PlanRun, TrainingHasTheBitsOfARunWithoutSharedMemory) {
  const Graph graph = training_graph(tiny_config());
  for (int k : {0, 4, 12, test::block_count()}) {
    SCOPED_TRACE(k);
    const PlanOptions options{Phase::Train, test::from_block(k)};
    const Results r =
        expect_same_bits(graph, batch_specs(3, 64, Element::F32, true), options, Element::F32);
    for (const auto& [name, values] : r.gradients)
      EXPECT_TRUE(std::ranges::any_of(values, [](double v) { return v != 0; })) << name;
  }
}

// The values that a store holds of all running statistics.
std::map<std::string, Doubles> statistics_of(const ParameterStore& store) {
  std::map<std::string, Doubles> all;
  for (int i = 0; i < std::ssize(store.specs()); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (!is_learned(p.role))
      all[p.name] = test::read(store.value(i), {{p.count()}, store.element()});
  }
  return all;
}

// Frozen batch norms among trained convolutions: gradients pass through them, and their statistics
// stay.
TEST(PlanRun, ConvolutionsAloneTrained) {
  const Graph graph = training_graph(tiny_config());
  const auto weights = [](const ParamSpec& p) { return p.role == Role::Weight; };
  const Results r = expect_same_bits(graph, batch_specs(2, 64, Element::F32, true),
                                     {Phase::Train, weights}, Element::F32);
  EXPECT_TRUE(r.statistics.empty());
}

TEST(PlanRun, NormsAloneTrained) {
  const Graph graph = training_graph(tiny_config());
  const auto norms = [](const ParamSpec& p) { return p.role == Role::NormScale; };
  const Results r = expect_same_bits(graph, batch_specs(2, 64, Element::F32, true),
                                     {Phase::Train, norms}, Element::F32);
  for (const auto& [name, values] : statistics_of(*test::trained_like(graph, Element::F32)))
    EXPECT_NE(r.statistics.at(name), values) << name;
}

// A step writes gradients and next statistics of what is trained, and no parameter.
TEST(PlanRun, FrozenParametersAndTheirGradientsAreLeftAlone) {
  const Graph graph = training_graph(tiny_config());
  const auto in = batch_specs(2, 64, Element::F32, true);
  const auto store = test::trained_like(graph, Element::F32);
  constexpr int kFrozen = 9;
  const Trainable trainable = test::from_block(kFrozen);
  PlanRun run(graph, in, {Phase::Train, trainable}, *store);
  run.poison();
  const Results results = run.run(test::random_inputs(graph, in));
  for (int i = 0; i < std::ssize(store->specs()); ++i) {
    const ParamSpec& p = store->specs()[at(i)];
    const Spec spec{{p.count()}, Element::F32};
    const Doubles before = test::read(store->value(i), spec);
    EXPECT_EQ(test::fetch(cpu_backend(), run.parameters().value(i), spec), before) << p.name;
    if (!is_learned(p.role)) {
      EXPECT_EQ(results.statistics.contains(p.name), trainable(p)) << p.name;
      if (trainable(p)) {
        EXPECT_NE(results.statistics.at(p.name), before) << p.name;
      }
    } else if (trainable(p)) {
      for (double g : run.gradient(p.name)) ASSERT_FALSE(std::isnan(g)) << p.name;
    } else {
      EXPECT_FALSE(run.parameters().gradient(i)) << p.name;
    }
  }
}

double largest(const Doubles& values) {
  double m = 0;
  for (double v : values) m = std::max(m, std::abs(v));
  return m;
}

// Layers of MobileNetV2 that round, and the longest sum in one of them (width 0.1: the pool's
// 1280 channels into the head).
constexpr double kLayers = 54, kTerms = 1280;

TEST(PlanRun, FoldedInferenceEqualsTheUnfoldedNetwork) {
  for (Padding padding : {Padding::Torch, Padding::TfSame}) {
    NetworkConfig config = tiny_config();
    config.padding = padding;
    config.bn_eps = padding == Padding::Torch ? 1e-5 : 1e-3;
    const Graph graph = network_graph(config, Element::F64);
    const auto in = batch_specs(2, 64, Element::F64, false);
    const Inputs inputs = test::random_inputs(graph, in);
    const auto store = test::trained_like(graph, Element::F64);
    const Results folded = PlanRun(graph, in, {}, *store).run(inputs);
    const Results plain = NaiveRun(graph, in, {}, *store).run(inputs);
    for (const char* name : {"pooled", "logits"}) {
      const Doubles &a = folded.outputs.at(name), &b = plain.outputs.at(name);
      ASSERT_EQ(a.size(), b.size());
      ASSERT_GT(largest(b), 0);
      const double bound = test::network_tolerance<double>(kLayers, kTerms, largest(b));
      for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound) << name;
    }
  }
}

TEST(PlanRun, FloatFollowsDouble) {
  const auto logits = [](Element element) {
    const Graph graph = network_graph(tiny_config(), element);
    const auto in = batch_specs(3, 64, element, false);
    const auto store = test::trained_like(graph, element);
    return PlanRun(graph, in, {}, *store).run(test::random_inputs(graph, in)).outputs.at("logits");
  };
  const Doubles single = logits(Element::F32), oracle = logits(Element::F64);
  const double bound = test::network_tolerance<float>(kLayers, kTerms, largest(oracle));
  for (std::size_t i = 0; i < oracle.size(); ++i) EXPECT_NEAR(single[i], oracle[i], bound);
}

// ---- Gradients ----------------------------------------------------------------------------------

// Step of the differences. Small, as thousands of activations must stay on their sides, and as
// batch norms over the last blocks' few values bend the loss: third derivatives near 1e6 (the error
// grew ninefold from 1e-6 to 3e-6).
constexpr double kStep = 3e-7;

// Compares some elements of a parameter's gradient with differences of the plan's loss. A step that
// takes an activation over a kink is an error of the test.
void expect_parameter_gradient(const Graph& graph, const std::vector<Spec>& in,
                               const PlanOptions& options, const std::string& name,
                               std::size_t elements) {
  const Inputs inputs = test::random_inputs(graph, in);
  const auto store = test::trained_like(graph, Element::F64);
  PlanRun run(graph, in, options, *store);
  run.run(inputs);
  const Doubles gradient = run.gradient(name);
  auto* values = static_cast<double*>(store->value(store->find(name)));
  NaiveRun probe(run.plan().graph(), in, options, *store);
  const auto loss_at = [&](std::size_t i, double step, std::vector<int>& pattern) {
    const double kept = values[i];
    values[i] += step;
    run.refresh();
    run.forward(inputs);
    probe.run(inputs);
    values[i] = kept;
    pattern = probe.pattern();
    return run.output("loss")[0];
  };
  // Every layer's rounding reaches the loss.
  const double bound =
      test::gradcheck_tolerance(kStep) * static_cast<double>(run.plan().forward_steps());
  const std::size_t stride = std::max<std::size_t>(1, gradient.size() / elements);
  for (std::size_t i = 0; i < gradient.size(); i += stride) {
    std::vector<int> above, below;
    const double difference = loss_at(i, kStep, above) - loss_at(i, -kStep, below);
    ASSERT_EQ(above, below) << name << " element " << i << ": a kink is too near";
    EXPECT_NEAR(gradient[i], difference / (2 * kStep), bound) << name << " element " << i;
  }
}

// The first and the last parameter that is trained; both ends of the backward pass.
TEST(PlanGradient, JustAboveTheCut) {
  const Graph graph = training_graph(tiny_config(), Element::F64);
  const auto in = batch_specs(2, 64, Element::F64, true);
  for (int k : {0, 7, 14}) {
    SCOPED_TRACE(k);
    const PlanOptions options{Phase::Train, test::from_block(k)};
    const auto trained = Plan::build(graph, in, options, cpu_backend(Element::F64)).trained();
    expect_parameter_gradient(graph, in, options, trained.front().name, 3);
    expect_parameter_gradient(graph, in, options, trained[2].name, 3);
  }
}

// One inverted residual block, pool, dense and loss: every parameter.
Graph block_network(Index c, Index k, Index stride) {
  Graph g;
  const ValueId x = g.add_input("x"), targets = g.add_input("targets");
  const auto norm = [&](ValueId v, const std::string& name, Index channels, bool act) {
    v = g.add(name, BatchNorm{.channels = channels}, {v});
    return act ? g.add(name + ".act", Activate{Activation::Relu6}, {v}) : v;
  };
  const Index wide = 3 * c;
  const ValueId in = g.add("first", Convolution{.in = 3, .out = c}, {x});
  ValueId y = g.add("expand", Convolution{.in = c, .out = wide}, {in});
  y = norm(y, "bn1", wide, true);
  y = g.add(
      "dw",
      Convolution{.in = wide, .out = wide, .groups = wide, .window = {.size = 3, .stride = stride}},
      {y});
  y = norm(y, "bn2", wide, true);
  y = g.add("project", Convolution{.in = wide, .out = k}, {y});
  y = norm(y, "bn3", k, false);
  if (stride == 1 && c == k) y = g.add("add", Add{}, {y, in});
  y = g.add("pool", GlobalAveragePool{}, {y});
  y = g.add("fc", Dense{.in = k, .out = 1}, {y});
  g.mark_output(g.add("loss", BceLoss{}, {y, targets}), "loss");
  return g;
}

void check_block(Index c, Index k, Index stride) {
  const Graph graph = block_network(c, k, stride);
  const std::vector<Spec> in = {{{3, 5, 7, 3}, Element::F64}, {{3, 1, 1, 1}, Element::F64}};
  const PlanOptions options{Phase::Train, test::everything()};
  const Plan plan = Plan::build(graph, in, options, cpu_backend(Element::F64));
  ASSERT_EQ(plan.trained().size(), 4u + 6 + 2);
  for (const ParamSpec& p : plan.trained())
    expect_parameter_gradient(graph, in, options, p.name, 12);
  expect_same_bits(graph, in, options, Element::F64);
}

TEST(PlanGradient, InvertedResidualBlockWithSkip) {
  check_block(4, 4, 1);
}

TEST(PlanGradient, InvertedResidualBlockStride2) {
  check_block(4, 6, 2);
}

// ---- Graphs of other shapes than MobileNetV2's --------------------------------------------------

constexpr Index kChannels = 4;

Graph random_graph(std::uint64_t seed) {
  return test::random_graph(seed, kChannels);
}

const std::vector<Spec> kRandomSpecs = {{{2, 3, 3, kChannels}, Element::F64},
                                        {{2, 1, 1, 1}, Element::F64}};

TEST(RandomGraphs, PlansHaveTheBitsOfARunWithoutSharedMemory) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph graph = random_graph(seed);
    expect_same_bits(graph, kRandomSpecs, {}, Element::F64);
    const auto later_half = [](const ParamSpec& p) { return p.name >= "l4"; };
    for (const Trainable& t : {test::everything(), Trainable(later_half)})
      expect_same_bits(graph, kRandomSpecs, {Phase::Train, t}, Element::F64);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(RandomGraphs, FoldedEqualsUnfolded) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph graph = random_graph(seed);
    const auto store = test::trained_like(graph, Element::F64);
    const Inputs inputs = test::random_inputs(graph, kRandomSpecs);
    const Doubles a = PlanRun(graph, kRandomSpecs, {}, *store).run(inputs).outputs.at("sum");
    const Doubles b = NaiveRun(graph, kRandomSpecs, {}, *store).run(inputs).outputs.at("sum");
    const auto layers = static_cast<double>(graph.nodes().size());
    const double bound = test::network_tolerance<double>(layers, 9, largest(b));
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound);
  }
}

// The gradient of the lowest layer: it passes through every branch.
TEST(RandomGraphs, GradientsAreTrue) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_parameter_gradient(random_graph(seed), kRandomSpecs, {Phase::Train, test::everything()},
                              "first.weight", 4);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace dfengine
