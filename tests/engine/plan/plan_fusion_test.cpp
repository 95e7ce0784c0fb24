// Which of two forms of a piece of a network a plan takes: the faster where a backend has times,
// site by site; the fused one by rule.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {
namespace {

using Times = std::function<std::optional<double>(const Node&, const KernelQuery&)>;

// A device's kernels and made-up times.
class TimedMaker final : public KernelMaker {
 public:
  explicit TimedMaker(Times times) : times_(std::move(times)) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return kernels_.make(node, query);
  }
  bool loads_norms() const override { return true; }
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    return times_(node, query);
  }

 private:
  CudaKernelMaker kernels_;
  Times times_;
};

bool is_norm(const Node& node) {
  return std::holds_alternative<BatchNorm>(node.operation);
}

// One of the two layers of a norm on load.
bool is_fused(const Node& node) {
  if (const auto* norm = std::get_if<BatchNorm>(&node.operation))
    return norm->output == NormOutput::OnLoad;
  const auto* conv = std::get_if<Convolution>(&node.operation);
  return conv != nullptr && conv->norm_on_load.has_value();
}

using Names = std::set<std::string>;

// Of the batch norms that leave their result to their readers.
Names loaded(const Plan& plan) {
  Names names;
  for (const Node& node : plan.graph().nodes())
    if (is_norm(node) && is_fused(node)) names.insert(node.name);
  return names;
}

Plan plan_of(const KernelMaker& maker, int frozen = 0) {
  return Plan::build(training_graph(tiny_config(), Element::F16),
                     batch_specs(2, 64, Element::F32, true), {Phase::Train, from_block(frozen)},
                     maker);
}

Names loaded_with(Times times) {
  return loaded(plan_of(TimedMaker(std::move(times))));
}

// Where the rule loads, which is wherever it can be done.
Names by_rule() {
  return loaded(plan_of(CudaKernelMaker()));
}

TEST(PlanFusion, WithoutTimesTheRuleFuses) {
  const Names all = by_rule();
  EXPECT_GT(all.size(), 30u);
  EXPECT_EQ(loaded_with([](const Node&, const KernelQuery&) { return std::nullopt; }), all);
  // Times of one form alone cannot be compared.
  for (bool known : {false, true})
    EXPECT_EQ(loaded_with([&](const Node& node, const KernelQuery&) -> std::optional<double> {
                if (is_fused(node) != known) return std::nullopt;
                return known ? 1e6 : 1e-6;
              }),
              all);
}

TEST(PlanFusion, TheFasterFormIsTaken) {
  const auto with = [](double fused, double plain) {
    return loaded_with(
        [=](const Node& node, const KernelQuery&) { return is_fused(node) ? fused : plain; });
  };
  EXPECT_EQ(with(1, 2), by_rule());
  EXPECT_EQ(with(2, 1), Names{});
  EXPECT_EQ(with(1, 1), by_rule()) << "a tie saves memory";
}

// Every site is decided by its own times.
TEST(PlanFusion, SiteBySite) {
  const Names all = by_rule();
  for (const std::string& slow : all) {
    Names expected = all;
    expected.erase(slow);
    EXPECT_EQ(loaded_with([&](const Node& node, const KernelQuery&) {
                return is_fused(node) && node.name == slow ? 5.0 : 1.0;
              }),
              expected);
  }
  int which = 0;
  Names some;
  for (const std::string& name : all)
    if (which++ % 3 == 0) some.insert(name);
  EXPECT_EQ(loaded_with([&](const Node& node, const KernelQuery&) {
              return is_fused(node) && is_norm(node) && !some.contains(node.name) ? 5.0 : 1.0;
            }),
            some);
}

// A batch norm that is read by two convolutions.
Plan two_readers(const KernelMaker& maker) {
  Graph g;
  ValueId x = g.add_input("x");
  const ValueId targets = g.add_input("targets");
  const Convolution pointwise{.in = 8, .out = 8};
  x = g.add("bn", BatchNorm{.channels = 8}, {g.add("first", pointwise, {x})});
  x = g.add("add", Add{}, {g.add("a", pointwise, {x}), g.add("b", pointwise, {x})});
  x = g.add("fc", Dense{.in = 8, .out = 1}, {g.add("pool", GlobalAveragePool{}, {x})});
  g.mark_output(g.add("loss", BceLoss{}, {x, targets}), "loss");
  return Plan::build(g, std::vector<Spec>{{{2, 3, 3, 8}}, {{2, 1, 1, 1}}},
                     {Phase::Train, everything()}, maker);
}

// The times of a batch norm and of all its readers are added up: what it saves against what they
// lose.
TEST(PlanFusion, AllReadersCount) {
  const auto with = [](double saved, double lost) {
    return loaded(two_readers(TimedMaker([=](const Node& node, const KernelQuery&) {
      if (!is_fused(node)) return 10.0;
      return is_norm(node) ? 10.0 - saved : 10.0 + lost;
    })));
  };
  EXPECT_EQ(with(5, 2), Names{"bn"});
  EXPECT_EQ(with(5, 3), Names{});
}

// Timed as they will run: in training, backward with them, on the specs that they will have; and
// nothing below the cut, which has no batch norm of its own.
TEST(PlanFusion, AsksForTheNodesAsTheyWouldRun) {
  constexpr int kFrozen = 9;
  const Plan plain = Plan::build(
      training_graph(tiny_config(), Element::F16), batch_specs(2, 64, Element::F32, true),
      {Phase::Train, from_block(kFrozen)},
      TimedMaker([](const Node& n, const KernelQuery&) { return is_fused(n) ? 2.0 : 1.0; }));
  const Plan fused = plan_of(CudaKernelMaker(), kFrozen);
  struct Asked {
    bool fused;
    std::vector<Spec> in;
    Spec out;
  };
  std::multimap<std::string, Asked> asked;
  const Plan again = plan_of(
      TimedMaker([&](const Node& node, const KernelQuery& query) {
        EXPECT_EQ(query.phase, Phase::Train) << node.name;
        EXPECT_TRUE(query.backward) << node.name;
        EXPECT_GE(node.block, kFrozen) << node.name;
        asked.insert({node.name, {is_fused(node), {query.in.begin(), query.in.end()}, query.out}});
        return 1.0;
      }),
      kFrozen);
  EXPECT_EQ(loaded(again), loaded(fused));
  ASSERT_FALSE(asked.empty());
  for (const auto& [name, question] : asked) {
    const Plan& plan = question.fused ? fused : plain;
    const auto node = std::ranges::find(plan.graph().nodes(), name, &Node::name);
    ASSERT_NE(node, plan.graph().nodes().end()) << name;
    EXPECT_EQ(question.in, input_specs(*node, plan.specs())) << name;
    EXPECT_EQ(question.out, plan.spec(node->output)) << name;
  }
  // Each batch norm and its one reader, in both forms.
  EXPECT_EQ(asked.size(), 4 * loaded(fused).size());
}

// A backend that cannot is not asked.
TEST(PlanFusion, TheCpuIsNotAsked) {
  class Cannot final : public KernelMaker {
   public:
    Kernel make(const Node& node, const KernelQuery& query) const override {
      return cpu_backend().make(node, query);
    }
    std::optional<double> microseconds(const Node& node, const KernelQuery&) const override {
      ADD_FAILURE() << "asked for " << node.name;
      return 1.0;
    }
  };
  const Plan plan =
      Plan::build(training_graph(tiny_config()), batch_specs(2, 64, Element::F32, true),
                  {Phase::Train, everything()}, Cannot());
  EXPECT_EQ(loaded(plan), Names{});
}

}  // namespace
}  // namespace dfengine::test
