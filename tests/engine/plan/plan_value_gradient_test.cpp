// Gradients of values that a plan for inference gives, as Grad-CAM asks for them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/engine/plan/naive_run.h"

namespace dfengine {
namespace {

using test::Inputs;
using test::NaiveRun;
using test::PlanRun;

// Step of the differences: small, so that activations stay on their sides.
constexpr double kStep = 3e-7;

// The gradient of some output by values below it, as Grad-CAM asks, against differences of what
// stands behind each of them.
void expect_value_gradients(const Graph& graph, const Spec& in,
                            const std::vector<std::string>& names, const std::string& seed) {
  const auto store = test::trained_like(graph, Element::F64);
  const Inputs inputs = test::random_inputs(graph, {in});
  PlanRun run(graph, {in}, {.gradients_of = names, .seed = seed}, *store);
  const Index outputs = run.plan().spec(run.plan().graph().output(seed)).shape.count();
  const Doubles direction = test::random_uniform<double>(outputs, 31);
  const auto gradients = [&] {
    run.set_gradient(seed, direction);
    run.forward(inputs);
    run.backward();
    std::vector<Doubles> all;
    for (const std::string& name : names) all.push_back(run.output_gradient(name));
    return all;
  };
  const std::vector<Doubles> got = gradients();
  run.poison();
  EXPECT_EQ(gradients(), got) << "depends on what the arena held before";
  for (std::size_t k = 0; k < names.size(); ++k) {
    const Spec spec = run.plan().spec(run.plan().graph().output(names[k]));
    NaiveRun rest(behind(graph, names[k]), {spec}, {}, *store);
    const Doubles value = run.output(names[k]);
    const auto moved = [&](std::size_t i, double step) {
      Doubles at = value;
      at[i] += step;
      const Doubles out = rest.run({stored_bytes(spec.element, at)}).outputs.at(seed);
      return std::inner_product(out.begin(), out.end(), direction.begin(), 0.0);
    };
    const double bound =
        test::gradcheck_tolerance(kStep) * static_cast<double>(run.plan().forward_steps());
    constexpr std::size_t kElements = 12;
    for (std::size_t i = 0; i < value.size();
         i += std::max<std::size_t>(1, value.size() / kElements)) {
      const double above = moved(i, kStep);
      const std::vector<int> pattern = rest.pattern();
      const double below = moved(i, -kStep);
      ASSERT_EQ(rest.pattern(), pattern) << names[k] << "[" << i << "]: a kink is too near";
      EXPECT_NEAR(got[k][i], (above - below) / (2 * kStep), bound) << names[k] << "[" << i << "]";
    }
    EXPECT_TRUE(std::ranges::any_of(got[k], [](double g) { return g != 0; })) << names[k];
  }
}

// The last feature map, a sum that two layers read, values far below, and what is seeded behind no
// layer but one.
TEST(PlanGradient, OfALogitByTheValuesBelowIt) {
  Graph graph = test::network_graph(test::tiny_config());
  const std::vector<std::string> names = {"features.18.1.relu6", "features.15.add",
                                          "features.5.add", "features.0.1.relu6", "head.fc1"};
  for (const Node& n : std::vector(graph.nodes()))
    if (std::ranges::find(names, n.name) != names.end()) graph.mark_output(n.output, n.name);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    expect_value_gradients(graph, {{2, 64, 64, 3}, Element::U8}, {name}, "logits");
  }
}

// Two at once, side by side, of a whole map.
TEST(PlanGradient, OfTwoBranches) {
  Graph g;
  const ValueId x = g.add_input("x");
  const Convolution pointwise{.in = 4, .out = 4};
  ValueId a = g.add("a", pointwise, {x}), b = g.add("b", pointwise, {x});
  g.mark_output(a, "a");
  g.mark_output(b, "b");
  a = g.add("bn", BatchNorm{.channels = 4}, {a});
  b = g.add("act", Activate{Activation::Relu}, {b});
  g.mark_output(g.add("sum", Add{}, {a, b}), "sum");
  const Spec in{{2, 3, 3, 4}, Element::F64};
  const auto store = test::trained_like(g, Element::F64);
  PlanRun both(g, {in}, {.gradients_of = {"a", "b"}, .seed = "sum"}, *store);
  const Inputs inputs = test::random_inputs(g, {in});
  both.set_gradient("sum", Doubles(at(in.shape.count()), 1.0));
  both.forward(inputs);
  both.backward();
  // Written before the other's, and kept.
  for (const char* name : {"a", "b"}) {
    const int buffer = both.plan().gradient_buffer(both.plan().graph().output(name));
    EXPECT_EQ(both.plan().buffers()[at(buffer)].last, std::ssize(both.plan().steps()) - 1) << name;
  }
  // The sum passes its gradient on: to a batch norm of running statistics, and to a ReLU.
  const Doubles scale = test::read(store->value(store->find("bn.weight")), {{4}, Element::F64});
  const Doubles var = test::read(store->value(store->find("bn.running_var")), {{4}, Element::F64});
  const Doubles got_a = both.output_gradient("a"), got_b = both.output_gradient("b");
  const Doubles value_b = both.output("b");
  for (std::size_t i = 0; i < got_a.size(); ++i) {
    const double slope = scale[i % 4] / std::sqrt(var[i % 4] + BatchNorm{}.eps);
    EXPECT_NEAR(got_a[i], slope, test::tolerance<double>(4, std::abs(slope)));
    EXPECT_EQ(got_b[i], value_b[i] > 0 ? 1 : 0);
  }
}

}  // namespace
}  // namespace dfengine
