// Plans whose convolutions make the moments of their results for the batch norms behind them: which
// do, what that saves, and that the statistics are those of a pass over the tensor.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "engine/bench/step_cost.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/channel_moments.h"
#include "tests/engine/plan/plan_support.h"
#include "tests/engine/runtime/forwarding_backend.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

using Names = std::set<std::string>;
using Times = std::function<std::optional<double>(const Node&, const KernelQuery&)>;

// A device's kernels, with made-up times; convolutions without moments, if told so.
class Maker final : public KernelMaker {
 public:
  explicit Maker(bool moments, Times times = {}) : moments_(moments), times_(std::move(times)) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return kernels_.make(node, query);
  }
  bool loads_norms() const override { return true; }
  bool makes_moments(const Convolution& op, const Spec& in) const override {
    return moments_ && kernels_.makes_moments(op, in);
  }
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    return times_ ? times_(node, query) : std::nullopt;
  }

 private:
  CudaKernelMaker kernels_;
  bool moments_;
  Times times_;
};

bool makes_moments(const Node& node) {
  const auto* conv = std::get_if<Convolution>(&node.operation);
  return conv != nullptr && conv->makes_moments;
}

bool is_given_moments(const Node& node) {
  const auto* norm = std::get_if<BatchNorm>(&node.operation);
  return norm != nullptr && norm->moments_given;
}

Names makers_of_moments(const Plan& plan) {
  Names names;
  for (const Node& node : plan.graph().nodes())
    if (makes_moments(node)) names.insert(node.name);
  return names;
}

Plan plan_of(const KernelMaker& maker, Trainable trainable = everything(),
             Element element = Element::F16) {
  return Plan::build(training_graph(tiny_config(), element), batch_specs(2, 64, Element::F32, true),
                     {Phase::Train, std::move(trainable)}, maker);
}

// ---- Which --------------------------------------------------------------------------------------

// The second layer of each pair is the batch norm of the first.
TEST(MomentsPlan, EveryTrainedConvolutionHandsThemOn) {
  for (int k : {0, 9}) {
    SCOPED_TRACE(k);
    const Plan plan = plan_of(CudaKernelMaker(), from_block(k));
    for (int i = 0; i < plan.forward_steps(); ++i) {
      const Node& node = plan.node(i);
      const auto* conv = std::get_if<Convolution>(&node.operation);
      if (conv == nullptr) continue;
      const bool expected = plan.runs_backward(i);
      EXPECT_EQ(makes_moments(node), expected) << node.name;
      if (!expected) continue;
      const Step &made = plan.steps()[at(i)], &given = plan.steps()[at(i + 1)];
      EXPECT_TRUE(is_given_moments(plan.node(i + 1))) << node.name;
      ASSERT_NE(made.moments, kNone);
      EXPECT_EQ(given.moments, made.moments);
      EXPECT_EQ(given.scratch, kNone) << "a pass over the tensor would need some";
      const Buffer& buffer = plan.buffers()[at(made.moments)];
      EXPECT_EQ(buffer.last, i + 1);
      EXPECT_EQ(buffer.bytes % ChannelMoments::bytes(1, conv->out), 0);
    }
    if (k == 0) {
      EXPECT_EQ(makers_of_moments(plan).size(), 52u);
    }
  }
}

TEST(MomentsPlan, NoneInFloatOnTheCpuOrForStatisticsThatDoNotMove) {
  const Trainable weights = [](const ParamSpec& p) { return p.role == Role::Weight; };
  EXPECT_EQ(makers_of_moments(plan_of(CudaKernelMaker(), everything(), Element::F32)), Names{});
  EXPECT_EQ(makers_of_moments(plan_of(cpu_backend(), everything(), Element::F32)), Names{});
  EXPECT_EQ(makers_of_moments(plan_of(CudaKernelMaker(), weights)), Names{});
  EXPECT_EQ(makers_of_moments(Plan::build(network_graph(tiny_config(), Element::F16),
                                          batch_specs(2, 64, Element::F32, false), {},
                                          CudaKernelMaker())),
            Names{});
}

// Of two batch norms that read one value, the other makes its own statistics.
TEST(MomentsPlan, OneReaderTakesThem) {
  Graph g;
  const ValueId x = g.add("conv", Convolution{.in = 8, .out = 8}, {g.add_input("x")});
  for (const char* name : {"a", "b"})
    g.mark_output(g.add(name, BatchNorm{.channels = 8}, {x}), name);
  const auto always = [](const Alternative&) { return true; };
  const Graph handed = hand_on_moments(g, always);
  EXPECT_TRUE(makes_moments(handed.nodes()[0]));
  EXPECT_TRUE(is_given_moments(handed.nodes()[1]));
  EXPECT_FALSE(is_given_moments(handed.nodes()[2]));
}

// ---- By time ------------------------------------------------------------------------------------

TEST(MomentsPlan, TheFasterFormIsTakenSiteBySite) {
  const Names all = makers_of_moments(plan_of(Maker(true)));
  const auto fused = [](const Node& node) { return makes_moments(node) || is_given_moments(node); };
  const auto with = [&](double taken, double plain) {
    return makers_of_moments(plan_of(Maker(
        true, [&, taken, plain](const Node& node, const KernelQuery&) -> std::optional<double> {
          return fused(node) ? taken : plain;
        })));
  };
  EXPECT_EQ(with(1, 2), all);
  EXPECT_EQ(with(2, 1), Names{});
  for (const std::string& slow : all) {
    Names expected = all;
    expected.erase(slow);
    EXPECT_EQ(makers_of_moments(
                  plan_of(Maker(true,
                                [&](const Node& node, const KernelQuery&) -> std::optional<double> {
                                  return makes_moments(node) && node.name == slow ? 5.0 : 1.0;
                                }))),
              expected);
  }
}

// A batch norm is timed with as many moments as its convolution leaves.
TEST(MomentsPlan, TheBatchNormIsTimedWithWhatItIsGiven) {
  Index left = 0;
  int pairs = 0;
  plan_of(Maker(true, [&](const Node& node, const KernelQuery& query) -> std::optional<double> {
    if (makes_moments(node)) left = CudaKernelMaker().make(node, query).needs.moments;
    EXPECT_EQ(query.moments, is_given_moments(node) ? left : 0) << node.name;
    pairs += is_given_moments(node) ? 1 : 0;
    return 1.0;
  }));
  EXPECT_EQ(pairs, 52);
}

// ---- Bytes --------------------------------------------------------------------------------------

TEST(MomentsPlan, SaveAPassOverTheTensor) {
  const Plan plain = plan_of(Maker(false)), plan = plan_of(Maker(true));
  const std::vector<StepCost> before = step_costs(plain), after = step_costs(plan);
  ASSERT_EQ(before.size(), after.size());
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const Node& node = plan.node(i);
    const Step& step = plan.steps()[at(i)];
    Index expected = before[at(i)].bytes;
    if (step.moments != kNone) expected += plan.buffers()[at(step.moments)].bytes;
    if (is_given_moments(node)) expected -= plan.spec(node.inputs[0]).bytes();
    EXPECT_EQ(after[at(i)].bytes, expected) << node.name;
  }
}

// At the size of a whole step they fit where nothing else lies.
TEST(MomentsPlan, TakeNoMemoryOfAStepOf256) {
  const auto arena = [](bool moments) {
    return Plan::build(training_graph({}, Element::F16), batch_specs(256, 224, Element::F32, true),
                       {Phase::Train, everything()}, Maker(moments))
        .arena_bytes();
  };
  EXPECT_LE(arena(true), arena(false));
}

// ---- Results ------------------------------------------------------------------------------------

class WithoutMoments final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  bool makes_moments(const Convolution&, const Spec&) const override { return false; }
};

// Two convolutions with batch norms, the second of which is loaded by nobody. 147 rows.
Graph two_pairs() {
  Graph g;
  ValueId x = g.add_input("x");
  const ValueId targets = g.add_input("targets");
  x = g.add("a", Convolution{.in = 16, .out = 24}, {x});
  g.mark_output(x, "a");
  x = g.add("a.bn", BatchNorm{.channels = 24}, {x});
  x = g.add("a.relu6", Activate{Activation::Relu6}, {x});
  x = g.add("b", Convolution{.in = 24, .out = 40}, {x});
  x = g.add("b.bn", BatchNorm{.channels = 40}, {x});
  x = g.add("fc", Dense{.in = 40, .out = 1}, {g.add("pool", GlobalAveragePool{}, {x})});
  g.mark_output(g.add("loss", BceLoss{}, {x, targets}), "loss");
  return g;
}

// The first batch norm's running statistics moved by what its input's are in double.
void expect_moved(const Results& got, const ParameterStore& store) {
  const Doubles& y = got.outputs.at("a");
  constexpr std::size_t kChannels = 24;
  const std::size_t count = y.size() / kChannels;
  const double rows = static_cast<double>(count), momentum = BatchNorm().momentum;
  const auto before = [&](const char* name) {
    return static_cast<const float*>(store.value(store.find(name)));
  };
  double size = 0;
  for (double v : y) size = std::max(size, std::abs(v));
  for (std::size_t k = 0; k < kChannels; ++k) {
    double mean = 0, squares = 0;
    for (std::size_t i = k; i < y.size(); i += kChannels) mean += y[i] / rows;
    for (std::size_t i = k; i < y.size(); i += kChannels) squares += (y[i] - mean) * (y[i] - mean);
    const auto expect = [&](const char* name, double of_batch, double magnitude) {
      const double running = before(name)[k];
      EXPECT_NEAR(got.statistics.at(name)[k], running + momentum * (of_batch - running),
                  tolerance<float>(rows, std::max(magnitude, running)))
          << name << " " << k;
    };
    expect("a.bn.running_mean", mean, size);
    expect("a.bn.running_var", squares / (rows - 1), size * size);
  }
}

void expect_same_statistics(Precision precision) {
  SCOPED_TRACE(name_of(precision));
  const CudaBackend backend({.precision = precision, .graphs = false, .deterministic = true});
  const WithoutMoments plain(backend);
  const Graph graph = two_pairs();
  const std::vector<Spec> in = {{{3, 7, 7, 16}, backend.element()}, {{3, 1, 1, 1}, Element::F32}};
  const auto store = trained_like(graph, Element::F32);
  const Inputs inputs = random_inputs(graph, in);
  const PlanOptions options{Phase::Train, everything()};
  PlanRun run(graph, in, options, *store, backend), other(graph, in, options, *store, plain);
  EXPECT_EQ(makers_of_moments(run.plan()), (Names{"a", "b"}));
  EXPECT_EQ(makers_of_moments(other.plan()), Names{});
  run.poison();
  const Results got = run.run(inputs), want = other.run(inputs);
  EXPECT_TRUE(run.run(inputs) == got) << "a rerun gives other bits";
  expect_moved(got, *store);
  expect_moved(want, *store);
  for (const auto& [name, values] : got.gradients)
    for (double v : values) ASSERT_TRUE(std::isfinite(v)) << name;
}

TEST(MomentsDeviceRun, TheStatisticsAreThoseOfAPassOverTheTensor) {
  DF_NEEDS_DEVICE();
  expect_same_statistics(Precision::Fp16);
  expect_same_statistics(Precision::Bf16);
}

}  // namespace
}  // namespace dfengine::test
