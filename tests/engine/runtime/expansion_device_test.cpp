// Training plans in which the wide half of a block is one operation that stores none of its wide
// values: where that is taken, and that a step is the same.
#include <gtest/gtest.h>

#include <set>

#include "engine/bench/step_cost.h"
#include "tests/engine/runtime/device_support.h"
#include "tests/engine/runtime/forwarding_backend.h"

namespace dfengine::test {
namespace {

using Times = std::function<std::optional<double>(const Node&)>;

bool is_recomputed(const Node& node) {
  return std::holds_alternative<ExpandDepthwise>(node.operation);
}

// What a clock says that finds every layer as fast as any other: one operation beats three.
std::optional<double> equal_times(const Node&) {
  return 1;
}

// A device with made-up times.
class TimedBackend final : public ForwardingBackend {
 public:
  explicit TimedBackend(const Backend& to, Times times = equal_times)
      : ForwardingBackend(to), times_(std::move(times)) {}
  std::optional<double> microseconds(const Node& node, const KernelQuery&) const override {
    return times_(node);
  }

 private:
  Times times_;
};

// ---- Which
// -------------------------------------------------------------------------------------------

const CudaBackend& halves() {
  static const CudaBackend backend(deterministic(Precision::Fp16));
  return backend;
}

// Of a batch of 256.
Plan plan_of(const Backend& backend, const Trainable& trainable = everything(),
             bool sliced = false) {
  constexpr Index kBatch = 256, kSideOfPlan = 224;
  return Plan::build(training_graph({}, backend.element()),
                     batch_specs(kBatch, kSideOfPlan, Element::F32, true),
                     {.phase = Phase::Train, .trainable = trainable, .sliced = sliced}, backend);
}

std::set<std::string> recomputed(const Plan& plan) {
  std::set<std::string> names;
  for (const Node& node : plan.graph().nodes())
    if (is_recomputed(node)) names.insert(node.name);
  return names;
}

TEST(RecomputedExpansion, OnlyByTheClock) {
  DF_NEEDS_DEVICE();
  const auto slow = [](const Node& node) -> std::optional<double> {
    return is_recomputed(node) ? 4 : 1;
  };
  EXPECT_EQ(recomputed(plan_of(halves())), std::set<std::string>{}) << "by rule";
  EXPECT_EQ(recomputed(plan_of(TimedBackend(halves(), slow))), std::set<std::string>{});
  // The stem's block, and 2 to 7: up to 32 channels come in.
  const std::set<std::string> all = recomputed(plan_of(TimedBackend(halves())));
  EXPECT_EQ(all.size(), 7u);
  for (const std::string& name : all) {
    std::set<std::string> expected = all;
    expected.erase(name);
    EXPECT_EQ(recomputed(plan_of(TimedBackend(halves(),
                                              [&](const Node& node) -> std::optional<double> {
                                                return is_recomputed(node) && node.name == name ? 4
                                                                                                : 1;
                                              }))),
              expected);
  }
}

TEST(RecomputedExpansion, NotInFloatInSlicesOrOfFrozenStatistics) {
  DF_NEEDS_DEVICE();
  const std::set<std::string> none;
  const Trainable weights = [](const ParamSpec& p) { return p.role == Role::Weight; };
  const CudaBackend floats(deterministic(Precision::Fp32));
  EXPECT_EQ(recomputed(plan_of(TimedBackend(floats))), none);
  EXPECT_EQ(recomputed(plan_of(TimedBackend(cpu_backend()))), none);
  EXPECT_EQ(recomputed(plan_of(TimedBackend(halves()), weights)), none);
  EXPECT_EQ(recomputed(plan_of(TimedBackend(halves()), everything(), true)), none);
  // Above the cut alone.
  EXPECT_EQ(recomputed(plan_of(TimedBackend(halves()), from_block(6))).size(), 2u);
}

// It hands on moments, and takes the last step of the gradient behind it, as a convolution does.
TEST(RecomputedExpansion, WorksWithTheBatchNormBehindIt) {
  DF_NEEDS_DEVICE();
  const Plan plan = plan_of(TimedBackend(halves()));
  int found = 0;
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const Node& node = plan.node(i);
    if (!is_recomputed(node)) continue;
    ++found;
    const auto& op = std::get<ExpandDepthwise>(node.operation);
    const auto& norm = std::get<BatchNorm>(plan.graph().reader(node.output)->operation);
    EXPECT_TRUE(norm.moments_given && norm.gradient_sums_given && norm.leaves_gradient);
    EXPECT_TRUE(op.depthwise.conv.gradient_on_load);
    EXPECT_EQ(params(node.operation, node.name).size(), 6u);
  }
  EXPECT_EQ(found, 7);
}

// The same parameters; less than three quarters of the bytes and of the arena.
TEST(RecomputedExpansion, SavesBytesAndMemory) {
  DF_NEEDS_DEVICE();
  const Plan plain = plan_of(TimedBackend(halves(), [](const Node& node) -> std::optional<double> {
    return is_recomputed(node) ? 4 : 1;
  }));
  const Plan plan = plan_of(TimedBackend(halves()));
  std::set<std::string> before, after;
  for (const ParamSpec& p : plain.trained()) before.insert(p.name);
  for (const ParamSpec& p : plan.trained()) after.insert(p.name);
  EXPECT_EQ(before, after);
  EXPECT_LT(4 * total_cost(plan).bytes, 3 * total_cost(plain).bytes);
  EXPECT_LT(4 * plan.arena_bytes(), 3 * plain.arena_bytes());
  EXPECT_GT(total_cost(plan).flops, total_cost(plain).flops);
}

// ---- Results
// -----------------------------------------------------------------------------------------

// The smallest network's first block adds the stem's result to its own: the stem stays by itself.
constexpr double kWidthWithStem = 0.35;

TEST(RecomputedExpansionDeviceRun, TheSmallNetworksHaveSome) {
  DF_NEEDS_DEVICE();
  const TimedBackend backend(halves());
  const auto of_width = [&](double width) {
    return recomputed(Plan::build(training_graph(small_config(0, width), Element::F16),
                                  batch_specs(kImages, kSide, Element::F32, true),
                                  {.phase = Phase::Train, .trainable = everything()}, backend));
  };
  EXPECT_EQ(of_width(kWidth).size(), 16u);
  EXPECT_TRUE(of_width(kWidthWithStem).contains("features.1.conv.0.0"));
}

template <class T>
void expect_step_equals_double(Precision precision, const Trainable& trainable,
                               double width = kWidth) {
  SCOPED_TRACE(name_of(precision));
  SmallBatch batch;
  batch.width = width;
  const StepResult want = StepResult::oracle(batch, trainable);
  const CudaBackend device(deterministic(precision));
  const TimedBackend backend(device);
  expect_gradients<T>(StepResult::on(backend, batch, trainable).gradients, want,
                      Condition::of<T>(want, batch, trainable));
}

TEST(RecomputedExpansionDeviceRun, AStepEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  expect_step_equals_double<Half>(Precision::Fp16, everything());
  // Not all parameters ask for a gradient.
  expect_step_equals_double<Half>(Precision::Fp16, [](const ParamSpec& p) {
    return p.role == Role::NormScale || p.role == Role::NormShift;
  });
}

TEST(RecomputedExpansionDeviceRun, AStepFromThePixelsEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  expect_step_equals_double<Half>(Precision::Fp16, everything(), kWidthWithStem);
}

TEST(RecomputedExpansionDeviceRun, GraphEagerRerunAndCheckpointGiveTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const CudaBackend graphs(deterministic(Precision::Fp16)),
      launches(deterministic(Precision::Fp16, false));
  const auto run = [](const Backend& device, bool grad_checkpoint) {
    SmallRun small(std::make_unique<TimedBackend>(device), everything(), 0.2,
                   [&](TrainingOptions& o) { o.grad_checkpoint = grad_checkpoint; });
    small.steps(2);
    return small.state();
  };
  const auto state = run(graphs, false);
  EXPECT_TRUE(state == run(launches, false));
  EXPECT_TRUE(state == run(graphs, false));
  EXPECT_TRUE(state == run(graphs, true)) << "made again with --grad-checkpoint";
}

}  // namespace
}  // namespace dfengine::test
