// The plans of a session: which it keeps, how they share memory, what a failure leaves behind, what
// it refuses, and when folded weights change.
#include "engine/runtime/session.h"

#include "kernels/base/error.h"
#include "tests/engine/model/residual_network.h"
#include "tests/engine/runtime/device_support.h"
#include "tests/engine/runtime/forwarding_backend.h"

namespace dfengine::test {
namespace {

// What rounding errors pass through: seven convolutions and dense layers and the pool, whose sum
// over 16 x 16 places is the longest.
constexpr double kLayers = 8, kTerms = 256;

// Counts plans, and fails, keeps track of memory or asks for more of it when told to.
class WatchedBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  Kernel make(const Node& node, const KernelQuery& query) const override {
    may_fail();
    plans_ += std::holds_alternative<ImageNormalize>(node.operation);
    Kernel kernel = ForwardingBackend::make(node, query);
    if (query.in[0].shape.n == 1) kernel.needs.forward_scratch += more_for_one;
    return kernel;
  }
  OwnedMemory allocate(Index bytes) const override {
    may_fail();
    const OwnedMemory memory = ForwardingBackend::allocate(bytes);
    newest_ = memory;
    newest_bytes_ = bytes;
    return memory;
  }
  std::function<void()> capture(std::function<void()> body) const override {
    may_fail();
    return ForwardingBackend::capture(std::move(body));
  }

  int plans() const { return plans_; }
  std::weak_ptr<std::byte> newest() const { return newest_; }
  bool in_newest(ConstPlace place) const {
    const auto* begin = newest_.lock().get();
    const auto* p = place.as<std::byte>();
    return begin != nullptr && p >= begin && p < begin + newest_bytes_;
  }

  // Calls from now on until the one that fails, negative: none does.
  mutable int fails_in = -1;
  Index more_for_one = 0;  // scratch of every kernel of a batch of one

 private:
  void may_fail() const {
    if (fails_in >= 0 && fails_in-- == 0) throw DeviceError("made-up reason");
  }
  mutable int plans_ = 0;
  mutable std::weak_ptr<std::byte> newest_;
  mutable Index newest_bytes_ = 0;
};

// A small network to predict with.
struct Subject {
  explicit Subject(const Backend& on, std::uint64_t seed = 5)
      : backend(on), store(trained_like(network.graph, on.parameter_element(), seed)) {}

  // Of the first n pictures, launched as a prediction is.
  Doubles run(Index n, const std::string& output = "logits") {
    Session::Bound& bound = session.bound(n);
    const SmallBatch batch(n);
    put(backend, bound.binding->input("images"), batch.inputs(Element::F32)[0]);
    session.launch(bound, [this, &bound] { bound.binding->forward({backend.queue()}); });
    return fetch(backend, bound.binding->output(output),
                 bound.plan.spec(bound.plan.graph().output(output)));
  }

  const Backend& backend;
  Network network = residual_network();
  std::unique_ptr<ParameterStore> store;
  ParameterBlock parameters{network.graph, *store, backend};
  Session session{network.graph, {kImage}, {}, parameters};
};

class SessionOn : public OnBackend {
 protected:
  std::unique_ptr<Backend> device_;
  std::unique_ptr<WatchedBackend> backend_;
  void SetUp() override {
    OnBackend::SetUp();
    if (IsSkipped()) return;
    device_ = float_backend(GetParam());
    backend_ = std::make_unique<WatchedBackend>(*device_);
  }
};
DF_ON_EVERY_BACKEND(SessionOn);

TEST_P(SessionOn, AFailureLeavesItAsItWas) {
  const Doubles three = Subject(*backend_).run(3);
  for (const bool reserves : {false, true}) {
    Subject subject(*backend_);
    const Doubles two = subject.run(2);
    const Index bytes = subject.session.bytes();
    const auto fails_at = [&](int call) {
      backend_->fails_in = call;
      try {
        reserves ? subject.session.reserve(3) : void(subject.session.bound(3));
      } catch (const DeviceError& e) {
        EXPECT_STREQ(e.what(), "made-up reason");
        return true;
      }
      backend_->fails_in = -1;
      return false;
    };
    // Each kernel and each allocation fails in turn.
    int call = 0;
    for (; fails_at(call); ++call) {
      EXPECT_TRUE(fails_at(call)) << "a plan that was never made was there the next time";
      EXPECT_EQ(subject.session.bytes(), bytes);
      EXPECT_EQ(subject.run(2), two);
    }
    EXPECT_GT(call, std::ssize(subject.network.graph.nodes()) / 2);
    EXPECT_EQ(subject.run(3), three);
    EXPECT_EQ(subject.run(2), two);
  }
}

TEST_P(SessionOn, AfterAFailureTheNextCallSucceeds) {
  const Doubles three = Subject(*backend_).run(3);
  Subject subject(*backend_);
  for (const int call : {0, 5}) {
    backend_->fails_in = call;
    EXPECT_THROW(subject.session.bound(3), DeviceError);
    EXPECT_EQ(subject.session.bytes(), 0);
  }
  EXPECT_EQ(subject.run(3), three);
}

TEST_P(SessionOn, ACaptureThatFailsIsTriedAgain) {
  Subject subject(*backend_);
  const Doubles two = Subject(*backend_).run(2);
  subject.session.reserve(2);
  backend_->fails_in = 0;
  EXPECT_THROW(subject.run(2), DeviceError);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(subject.run(2), two) << i;
}

// The arena is one for all plans; whoever was there before moves with it.
TEST_P(SessionOn, ASmallerBatchMayNeedALargerArena) {
  const Doubles one = Subject(*backend_).run(1);
  backend_->more_for_one = Index{1} << 20;
  Subject subject(*backend_);
  subject.session.reserve(3);
  const std::weak_ptr<std::byte> before = backend_->newest();
  const Index bytes = subject.session.bytes();
  const Doubles three = subject.run(3);
  EXPECT_EQ(subject.run(3), three);
  EXPECT_EQ(subject.run(1), one);
  EXPECT_GT(subject.session.bytes(), bytes);
  EXPECT_TRUE(before.expired()) << "the old arena is still held";
  for (const Index n : {3, 1})
    EXPECT_TRUE(backend_->in_newest(subject.session.bound(n).binding->input("images"))) << n;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(subject.run(3), three) << i;
    EXPECT_EQ(subject.run(1), one) << i;
  }
}

TEST_P(SessionOn, OddSizesEvictEachOtherAndReservedOnesStay) {
  Subject subject(*backend_);
  const auto plans_for = [&](Index n) {
    subject.session.bound(n);
    return backend_->plans();
  };
  subject.session.reserve(4);
  const Session::Bound* four = &subject.session.bound(4);
  EXPECT_EQ(backend_->plans(), 1);
  EXPECT_EQ(plans_for(3), 2);
  EXPECT_EQ(plans_for(3), 2);
  EXPECT_EQ(plans_for(4), 2);
  EXPECT_EQ(plans_for(2), 3);
  EXPECT_EQ(plans_for(3), 4) << "3 was to give way to 2";
  subject.session.reserve(3);  // the plan that is there
  EXPECT_EQ(plans_for(2), 5);
  EXPECT_EQ(plans_for(3), 5);
  subject.session.reserve(4);
  EXPECT_EQ(backend_->plans(), 5);
  EXPECT_EQ(&subject.session.bound(4), four);
}

TEST_P(SessionOn, ABatchHoldsOneSampleAtLeast) {
  Subject subject(*backend_);
  for (const bool after_others : {false, true}) {
    if (after_others) subject.session.reserve(2);
    for (const Index n : {0, -1}) {
      EXPECT_THROW(subject.session.bound(n), UsageError) << n;
      EXPECT_THROW(subject.session.reserve(n), UsageError) << n;
    }
  }
}

// Plans that never run at the same time may lie in one arena.
TEST_P(SessionOn, PlansInOneArenaDoNotDisturbEachOther) {
  Subject subject(*backend_);
  const Doubles alone = subject.run(1), together = subject.run(3);
  EXPECT_EQ(subject.run(1), alone);
  EXPECT_EQ(subject.run(3), together);
  EXPECT_NEAR(together[0], alone[0], network_tolerance<float>(kLayers, kTerms, std::abs(alone[0])));
}

TEST_P(SessionOn, FoldedWeightsChangeWithPrepareAlone) {
  Subject subject(*backend_);
  Subject changed(*backend_, 6);
  const Doubles before = subject.run(1, "pooled"), fresh = changed.run(1, "pooled");
  ASSERT_NE(before, fresh);
  for (int i = 0; i < std::ssize(subject.store->specs()); ++i)
    subject.store->set(i, std::span<const float>(changed.store->get(i)));
  subject.parameters.upload();
  EXPECT_EQ(subject.run(1, "pooled"), before);
  subject.session.prepare();
  EXPECT_EQ(subject.run(1, "pooled"), fresh);
  EXPECT_EQ(subject.run(1), changed.run(1));
}

TEST_P(SessionOn, NamesThatAreNotThere) {
  Subject subject(*backend_);
  const Binding& binding = *subject.session.bound(1).binding;
  EXPECT_THROW(binding.input("logits"), UsageError);
  EXPECT_THROW(binding.output("images"), UsageError);
}

template <class Body>
void expect_refused(const char* named, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "bound";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(named), std::string::npos) << e.what();
  }
}

TEST_P(SessionOn, ParametersOfAnotherNetworkAreRefused) {
  NetworkConfig wider = residual_config(), headless = residual_config();
  wider.hidden = 9;
  headless.head = Head::None;
  const Graph graph = residual_network().graph;
  for (const NetworkConfig& other : {wider, headless}) {
    const auto store = trained_like(residual_network(other).graph, Element::F32);
    expect_refused("head.fc1.weight", [&] { ParameterBlock(graph, *store, *backend_); });
  }
  const Graph base = residual_network(headless).graph;
  const auto store = trained_like(graph, Element::F32);
  const ParameterBlock without_head(base, *store, *backend_);
  Session session(graph, {kImage}, {}, without_head);
  expect_refused("head.fc1.weight", [&] { session.bound(1); });
}

TEST_P(SessionOn, TrainingNeedsGradients) {
  const Graph graph = with_loss(residual_network().graph);
  const auto store = trained_like(graph, Element::F32);
  const ParameterBlock parameters(graph, *store, *backend_);
  const std::vector<Spec> samples = {kImage, {{1, 1, 1, 1}, Element::F32}};
  Session trains(graph, samples, {Phase::Train, everything()}, parameters);
  EXPECT_THROW(trains.bound(2), Error);
  Session frozen(graph, samples, {Phase::Train, none()}, parameters);
  EXPECT_NO_THROW(frozen.bound(2));
}

// Doubles read from a block of floats would lie outside it.
TEST_P(SessionOn, ElementTypesMustAgree) {
  const Graph graph = residual_network().graph;
  const auto floats = trained_like(graph, Element::F32),
             doubles = trained_like(graph, Element::F64);
  EXPECT_THROW(ParameterBlock(graph, *doubles, *backend_), Error);
  EXPECT_THROW(ParameterBlock(graph, *floats, cpu_backend(Element::F64)), Error);
}

}  // namespace
}  // namespace dfengine::test
