// What an executor refuses to bind, and when folded weights change.
#include "engine/runtime/executor.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine {
namespace {

using test::batch_specs;
using test::tiny_config;

TEST(Executor, ArenaTooSmall) {
  const Graph graph = make_mobilenet_v2(tiny_config());
  const auto store = test::trained_like(graph, Element::F32);
  const Plan plan = Plan::build(graph, batch_specs(1, 64, Element::F32, false), {});
  const Memory small(plan.arena_bytes() - 1), enough(plan.arena_bytes());
  EXPECT_THROW(Executor(plan, *store, nullptr, small), Error);
  EXPECT_NO_THROW(Executor(plan, *store, nullptr, enough));
}

TEST(Executor, TrainingNeedsGradients) {
  const Graph graph = make_mobilenet_v2_training(tiny_config());
  const auto store = test::trained_like(graph, Element::F32);
  const auto in = batch_specs(2, 64, Element::F32, true);
  const Plan plan = Plan::build(graph, in, {Phase::Train, test::everything()});
  const Memory arena(plan.arena_bytes());
  EXPECT_THROW(Executor(plan, *store, nullptr, arena), Error);
  const Plan frozen = Plan::build(graph, in, {Phase::Train, test::none()});
  EXPECT_NO_THROW(Executor(frozen, *store, nullptr, arena));
}

// Doubles read from a block of floats would lie outside it.
TEST(Executor, ElementTypesMustAgree) {
  const Graph graph = make_mobilenet_v2(tiny_config(), Element::F64);
  const auto floats = test::trained_like(graph, Element::F32);
  const Plan plan = Plan::build(graph, batch_specs(1, 64, Element::F64, false), {});
  const Memory arena(plan.arena_bytes());
  EXPECT_THROW(Executor(plan, *floats, nullptr, arena), Error);
}

TEST(Executor, ParametersOfAnotherNetwork) {
  MobileNetV2Config wider = tiny_config();
  wider.hidden = 9;
  MobileNetV2Config headless = tiny_config();
  headless.head = Head::None;
  const Graph graph = make_mobilenet_v2(tiny_config());
  const Plan plan = Plan::build(graph, batch_specs(1, 64, Element::F32, false), {});
  const Memory arena(plan.arena_bytes());
  for (const MobileNetV2Config& other : {wider, headless}) {
    const auto store = test::trained_like(make_mobilenet_v2(other), Element::F32);
    try {
      Executor(plan, *store, nullptr, arena);
      ADD_FAILURE() << "bound";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("head.fc1.weight"), std::string::npos) << e.what();
    }
  }
}

TEST(Executor, NamesThatAreNotThere) {
  const Graph graph = make_mobilenet_v2(tiny_config());
  const auto store = test::trained_like(graph, Element::F32);
  test::Session session(graph, batch_specs(1, 64, Element::F32, false), {}, *store);
  EXPECT_THROW(session.executor().input("logits"), UsageError);
  EXPECT_THROW(session.executor().output("images"), UsageError);
}

TEST(Executor, FoldedWeightsChangeWithPrepareAlone) {
  const Graph graph = make_mobilenet_v2(tiny_config());
  const auto store = test::trained_like(graph, Element::F32);
  const auto in = batch_specs(1, 64, Element::F32, false);
  const test::Inputs inputs = test::random_inputs(graph, in);
  test::Session session(graph, in, {}, *store);
  session.forward(inputs);
  const auto before = session.output("pooled");
  const auto changed = test::trained_like(graph, Element::F32, 6);
  for (std::size_t i = 0; i < store->specs().size(); ++i)
    store->set(static_cast<int>(i), std::span<const float>(changed->get(static_cast<int>(i))));
  session.forward(inputs);
  EXPECT_EQ(session.output("pooled"), before);
  session.executor().prepare();
  session.forward(inputs);
  const auto after = session.output("pooled");
  EXPECT_NE(after, before);
  test::Session fresh(graph, in, {}, *changed);
  fresh.forward(inputs);
  EXPECT_EQ(fresh.output("pooled"), after);
}

// Plans that never run at the same time may lie in one arena.
TEST(Executor, SharedArena) {
  const Graph graph = make_mobilenet_v2(tiny_config());
  const auto store = test::trained_like(graph, Element::F32);
  const auto big_specs = batch_specs(3, 64, Element::F32, false);
  const auto small_specs = batch_specs(1, 64, Element::F32, false);
  const Plan big = Plan::build(graph, big_specs, {});
  const Plan small = Plan::build(graph, small_specs, {});
  const Memory arena(std::max(big.arena_bytes(), small.arena_bytes()));
  Executor a(big, *store, nullptr, arena), b(small, *store, nullptr, arena);
  a.prepare();
  b.prepare();
  // The first picture of three, alone: the same bits, before and behind a run of the other.
  const test::Inputs inputs = test::random_inputs(graph, big_specs);
  const auto logit = [&](Executor& e, const Spec& spec) {
    std::memcpy(e.input("images"), inputs[0].data(), static_cast<std::size_t>(spec.bytes()));
    e.forward({{test::shared_pool()}, nullptr});
    return *static_cast<const float*>(e.output("logits"));
  };
  const float alone = logit(b, small_specs[0]);
  const float together = logit(a, big_specs[0]);
  EXPECT_EQ(logit(b, small_specs[0]), alone);
  EXPECT_NEAR(together, alone, test::network_tolerance<float>(54, 1280, std::abs(alone)));
}

}  // namespace
}  // namespace dfengine
