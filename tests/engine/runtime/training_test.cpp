// What a training step does to parameters: the update against Adam's and AdamW's formulas written
// out in double, parameter by parameter, then whole steps, the same on the CPU and on devices.
#include "engine/runtime/training.h"

#include <set>

#include "kernels/base/error.h"
#include "tests/engine/model/residual_network.h"
#include "tests/engine/runtime/device_support.h"
#include "tests/support/targets.h"

namespace dfengine::test {
namespace {

constexpr double kLr = 0.01, kDecay = 0.1;
constexpr int kSteps = 5;

// One parameter of each role, of lengths that end inside a vector register, and one that rests. Of
// this graph only the parameters count.
Graph all_roles() {
  Graph graph;
  ValueId x = graph.add_input("x");
  x = graph.add("conv", Convolution{.in = 1, .out = 19}, {x});
  x = graph.add("norm", BatchNorm{.channels = 5}, {x});
  x = graph.add("resting", Dense{.in = 7, .out = 1}, {x});
  graph.add("head", Dense{.in = 11, .out = 3}, {x});
  return graph;
}

bool rests(const ParamSpec& p) {
  return p.name.starts_with("resting");
}

// Of element i of a parameter in a step.
double gradient(const ParamSpec& p, Index i, int step) {
  return std::sin(1.0 + 0.7 * static_cast<double>(i) + 0.3 * step +
                  static_cast<double>(p.name.size()));
}

// One element through the formulas in kernels/adam.h.
struct Element64 {
  double w = 0.5, m = 0, v = 0;

  void update(bool decoupled, double decay, double g, int t) {
    if (decoupled) {
      w -= kLr * decay * w;
    } else {
      g += decay * w;
    }
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double mean = m / (1 - std::pow(0.9, t)), square = v / (1 - std::pow(0.999, t));
    w -= kLr * mean / (std::sqrt(square) + 1e-8);
  }
};

template <class Target>
std::unique_ptr<Backend> backend_for() {
  if constexpr (Target::kOnDevice) return float_backend(DeviceKind::Cuda);
  return std::make_unique<CpuBackend>(
      shared_pool(), std::is_same_v<typename Target::Value, double> ? Element::F64 : Element::F32);
}

// Parameters of 0.5 on a backend, and the update of those that do not rest.
class Updates {
 public:
  Updates(const Backend& backend, bool decoupled)
      : backend_(backend),
        step_(backend.allocate(sizeof(StepInput))),
        scalars_(backend.allocate(sizeof(StepScalars))) {
    for (int i = 0; i < std::ssize(store_.specs()); ++i)
      store_.set(
          i, std::span<const float>(std::vector<float>(at(store_.specs()[at(i)].count()), 0.5f)));
    parameters_.upload();
    Update update = parameters_.update(store_, {.decoupled = decoupled}, kDecay);
    update.input = Place{step_.get()}.as<StepInput>();
    update.scalars = scalars();
    update_ = backend.make_update(update);
    set_scalars({});
    const StepInput input{.learning_rate = kLr};
    backend.upload(step_.get(), &input, sizeof input);
  }

  void set_scalars(const StepScalars& to) {
    backend_.upload(scalars_.get(), &to, sizeof to);
    backend_.synchronize();
  }
  // Steps [first, last), counted from 0.
  void run(int first, int last) {
    for (int step = first; step < last; ++step) {
      for (int i = 0; i < std::ssize(specs()); ++i) {
        const ParamSpec& p = specs()[at(i)];
        Doubles values;
        for (Index k = 0; k < p.count(); ++k) values.push_back(gradient(p, k, step));
        const Place to = is_learned(p.role) ? parameters_.gradient(i) : parameters_.next(i);
        if (to) put(backend_, to, stored_bytes(element(), values));
      }
      update_();
      backend_.finish(scalars());
    }
  }
  Doubles values(int i) const {
    return fetch(backend_, parameters_.value(i), {{specs()[at(i)].count()}, element()});
  }

  const std::vector<ParamSpec>& specs() const { return store_.specs(); }
  ParameterBlock& parameters() { return parameters_; }
  ParameterStore& store() { return store_; }
  Element element() const { return backend_.parameter_element(); }

 private:
  StepScalars* scalars() const { return Place{scalars_.get()}.as<StepScalars>(); }

  const Backend& backend_;
  Graph graph_ = all_roles();
  ParameterStore store_{graph_.params(), backend_.parameter_element(), 0};
  ParameterBlock parameters_{graph_, store_, backend_,
                             [](const ParamSpec& p) { return !rests(p); }};
  OwnedMemory step_, scalars_;
  std::function<void()> update_;
};

template <class Target>
class UpdateOn : public OnTarget<Target> {
 protected:
  // Every learned element against the formulas.
  void expect_formulas(bool decoupled) {
    const auto backend = backend_for<Target>();
    Updates updates(*backend, decoupled);
    updates.run(0, kSteps);
    using T = typename Target::Value;
    for (int i = 0; i < std::ssize(updates.specs()); ++i) {
      const ParamSpec& p = updates.specs()[at(i)];
      if (!is_learned(p.role) || rests(p)) continue;
      const double decay = p.role == Role::Weight ? kDecay : 0.0;
      const Doubles got = updates.values(i);
      for (Index k = 0; k < p.count(); ++k) {
        Element64 expected;
        for (int t = 1; t <= kSteps; ++t)
          expected.update(decoupled, decay, value_of(stored<T>(gradient(p, k, t - 1))), t);
        // Ten roundings a step of values no greater than one.
        EXPECT_NEAR(got[at(k)], expected.w, tolerance<T>(10 * kSteps, 1)) << p.name << "[" << k;
      }
    }
  }
};
TYPED_TEST_SUITE(UpdateOn, HeadTargets, TargetNames);

TYPED_TEST(UpdateOn, AdamAddsTheDecayOfWeightsToTheGradient) {
  this->expect_formulas(false);
}

TYPED_TEST(UpdateOn, AdamWShrinksTheWeightsThemselves) {
  this->expect_formulas(true);
}

TYPED_TEST(UpdateOn, WhatIsNotTrainedKeepsItsBitsAndHasNoMoments) {
  const auto backend = backend_for<TypeParam>();
  Updates updates(*backend, true);
  updates.run(0, kSteps);
  const bool has_moments = backend->parameter_element() == Element::F32;  // that travel to files
  const Moments moments = has_moments ? updates.parameters().moments() : Moments{};
  for (int i = 0; i < std::ssize(updates.specs()); ++i) {
    const ParamSpec& p = updates.specs()[at(i)];
    const Doubles values = updates.values(i);
    for (Index k = 0; k < p.count(); ++k) {
      if (!is_learned(p.role)) {
        using T = typename TypeParam::Value;
        EXPECT_EQ(values[at(k)], value_of(stored<T>(gradient(p, k, kSteps - 1)))) << p.name;
        continue;
      }
      EXPECT_EQ(values[at(k)] == 0.5, rests(p)) << p.name;
      if (!has_moments) continue;
      const Index in_store = updates.store().offset(i) + k;
      EXPECT_EQ(moments.first[at(in_store)] == 0, rests(p)) << p.name;
      EXPECT_EQ(moments.second[at(in_store)] == 0, rests(p)) << p.name;
    }
  }
}

TYPED_TEST(UpdateOn, AnOverflowChangesNothing) {
  const auto backend = backend_for<TypeParam>();
  Updates updates(*backend, false);
  updates.set_scalars({.overflow = 1});
  updates.run(0, 1);
  for (int i = 0; i < std::ssize(updates.specs()); ++i)
    for (double v : updates.values(i)) EXPECT_EQ(v, 0.5) << updates.specs()[at(i)].name;
}

// Of everything, in batches of so many at most.
TrainingOptions training_options(Index batch) {
  TrainingOptions o;
  o.batch = batch;
  o.trainable = everything();
  return o;
}

class TrainingOn : public OnBackend {};
DF_ON_EVERY_BACKEND(TrainingOn);

TEST_P(TrainingOn, AnUpdateGoesOnFromMomentsAndSteps) {
  const auto backend = float_backend(GetParam());
  Updates whole(*backend, false), first(*backend, false), second(*backend, false);
  whole.run(0, 4);
  first.run(0, 2);
  first.parameters().download(second.store());
  second.parameters().upload();
  second.parameters().upload(first.parameters().moments());
  second.set_scalars({.step = 2});
  second.run(2, 4);
  for (int i = 0; i < std::ssize(whole.specs()); ++i)
    EXPECT_EQ(second.values(i), whole.values(i)) << whole.specs()[at(i)].name;
}

// Gradients and moments reach from the first parameter that is trained to the last. Values take
// memory of their own where the backend does not compute in the host's.
TEST(ParameterBlock, BytesAreThoseOfAllItHolds) {
  const Graph graph = all_roles();
  const ParameterStore store(graph.params(), Element::F32, 0);
  constexpr Index kConvolution = 19, kNorm = 5 + 5, kResting = 7 + 1, kHead = 33 + 3,
                  kRunning = 5 + 5;
  const auto training = [&](const Trainable& trainable) {
    return ParameterBlock(graph, store, cpu_backend(), trainable).bytes();
  };
  EXPECT_EQ(training({}), 0);
  EXPECT_EQ(training(everything()), 4 * (3 * (kConvolution + kNorm + kResting + kHead) + kRunning));
  EXPECT_EQ(training([](const ParamSpec& p) { return p.name.starts_with("norm"); }),
            4 * (3 * kNorm + kRunning));
  EXPECT_EQ(training([](const ParamSpec& p) { return p.name.starts_with("head"); }), 4 * 3 * kHead);
}

TEST(DeviceParameterBlock, BytesAreThoseOfAllItHolds) {
  DF_NEEDS_DEVICE();
  const auto device = float_backend(DeviceKind::Cuda);
  const Graph graph = all_roles();
  const ParameterStore store(graph.params(), Element::F32, 0);
  Index values = 0, head = 0;
  for (const ParamSpec& p : store.specs()) {
    values += round_up(p.count(), device->alignment());
    if (p.name.starts_with("head")) head += round_up(p.count(), device->alignment());
  }
  const auto trainable = [](const ParamSpec& p) { return p.name.starts_with("head"); };
  EXPECT_EQ(ParameterBlock(graph, store, *device).bytes(), 4 * values);
  EXPECT_EQ(ParameterBlock(graph, store, *device, trainable).bytes(), 4 * (values + 3 * head));
}

// What computes in host memory trains the store itself; no value is held twice.
TEST(ParameterBlock, HostsValuesAreThoseOfTheStore) {
  Updates updates(cpu_backend(), false);
  updates.run(0, 1);
  for (int i = 0; i < std::ssize(updates.specs()); ++i)
    EXPECT_EQ(updates.parameters().value(i).address, updates.store().value(i));
  EXPECT_NE(updates.store().get(0)[0], 0.5f);
}

// A graph's block holds its own parameters alone; others keep their values and have no moments.
TEST_P(TrainingOn, ABlockOfAHeadLeavesTheRestAlone) {
  const auto backend = float_backend(GetParam());
  const Graph whole = residual_network().graph, head = behind(whole, "pooled");
  const auto store = trained_like(whole, Element::F32),
             other = trained_like(whole, Element::F32, 8);
  const ParameterBlock block(head, *store, *backend, everything());
  block.download(*other);
  const auto untouched = trained_like(whole, Element::F32, 8);
  const Moments moments = block.moments();
  EXPECT_EQ(std::ssize(moments.first), store->learned_count());
  for (int i = 0; i < std::ssize(store->specs()); ++i) {
    const bool of_head = store->specs()[at(i)].name.starts_with("head");
    EXPECT_EQ(block.value(i).address != nullptr, of_head);
    EXPECT_EQ(other->get(i), (of_head ? store : untouched)->get(i)) << store->specs()[at(i)].name;
  }
}

TEST_P(TrainingOn, SizesThatWereNotPlannedForAreRefused) {
  SmallRun run(float_backend(GetParam()), from_block(block_count()));
  const SmallBatch batch(kImages + 1);
  for (const Index n : {Index{0}, Index{-1}, kImages + 1})
    EXPECT_THROW(run.training().step(batch.images.data(), batch.targets.data(), n, run.input()),
                 Error);
}

// Targets come and moments go as floats.
TEST(Training, NeedsParametersInFloat) {
  const Graph graph = with_loss(residual_network().graph);
  const auto store = trained_like(graph, Element::F64);
  EXPECT_THROW(
      Training(graph, kImage, *store, cpu_backend(Element::F64), training_options(kImages)),
      UsageError);
}

TEST_P(TrainingOn, LossesAreSummedOverTheSamplesOfTheStepsSinceTheLastCollection) {
  SmallRun one(float_backend(GetParam()), from_block(block_count())),
      both(float_backend(GetParam()), from_block(block_count()));
  std::vector<StepSums> each;
  for (const Index n : {kImages, kImages - 1}) {
    one.step(SmallBatch(n));
    each.push_back(one.training().collect());
    both.step(SmallBatch(n));
  }
  const StepSums sums = both.training().collect();
  EXPECT_EQ(sums.n, 2 * kImages - 1);
  EXPECT_EQ(sums.loss, each[0].loss + each[1].loss);
  EXPECT_EQ(sums.right, each[0].right + each[1].right);
  EXPECT_EQ(both.training().collect().n, 0);
}

// More steps than there are records.
TEST_P(TrainingOn, NoStepIsLostHoweverLateTheyAreCollected) {
  const auto backend = float_backend(GetParam());
  const Graph graph = with_loss(behind(residual_network().graph, "pooled"));
  const auto store = trained_like(graph, Element::F32), other = trained_like(graph, Element::F32);
  const Spec features{{1, 1, 1, kResidualChannels}, Element::F32};
  const std::vector<float> row = random_uniform<float>(kResidualChannels, 2);
  const float target = 1;
  Training late(graph, features, *store, *backend, training_options(1)),
      early(graph, features, *other, *backend, training_options(1));
  double loss = 0;
  constexpr std::uint64_t kMany = 2 * kStepRecords + 3;
  for (std::uint64_t i = 0; i < kMany; ++i) {
    const StepInput input{1, i, 1e-3};
    late.step(row.data(), &target, 1, input);
    early.step(row.data(), &target, 1, input);
    loss += early.collect().loss;
  }
  const StepSums sums = late.collect();
  EXPECT_EQ(sums.n, static_cast<Index>(kMany));
  // The same terms, added up in another order.
  EXPECT_NEAR(sums.loss, loss, tolerance<double>(kMany, loss));
}

// ---- Dropout ------------------------------------------------------------------------------------

constexpr double kRate = 0.5;

NetworkConfig dropping() {
  NetworkConfig config = residual_config(kRate);
  config.hidden = 64;
  return config;
}

// What dropout makes of numbers none of which is 0.
Doubles dropped(const Backend& backend, const StepInput& input) {
  Graph graph;
  const ValueId x = graph.add_input("x");
  graph.mark_output(graph.add("drop", Dropout{kRate}, {x}), "y");
  const Spec spec{{4, 1, 1, 64}, Element::F32};
  const ParameterStore store({}, Element::F32, 0);
  const ParameterBlock parameters(graph, store, backend);
  Session session(graph, {{{1, 1, 1, 64}, Element::F32}}, {Phase::Train, everything()}, parameters);
  const Binding& binding = *session.bound(4).binding;
  put(backend, binding.input("x"),
      stored_bytes(Element::F32, random_uniform<double>(spec.shape.count(), 4, 1, 2)));
  const StepMemory step(backend, input, {});
  binding.forward(step.context());
  return fetch(backend, binding.output("y"), spec);
}

TEST(DeviceDropout, HasTheCpusMasks) {
  DF_NEEDS_DEVICE();
  const auto device = float_backend(DeviceKind::Cuda);
  std::set<Doubles> masks;
  for (const StepInput& input : {StepInput{3, 0, 0}, {3, 1, 0}, {4, 0, 0}, {3, 1ULL << 40, 0}}) {
    const Doubles on_cpu = dropped(cpu_backend(), input);
    EXPECT_EQ(dropped(*device, input), on_cpu);
    const auto zeros = static_cast<double>(std::ranges::count(on_cpu, 0.0));
    EXPECT_NEAR(zeros, kRate * 256, count_tolerance(256, kRate));
    masks.insert(on_cpu);
  }
  EXPECT_EQ(masks.size(), 4u) << "seed and step make no difference";
}

// The loss of the first step of a phase, at this step of the run. The optimiser counts from 0.
double first_loss(const Backend& backend, std::uint64_t step) {
  const Graph graph = with_loss(residual_network(dropping()).graph);
  const auto store = trained_like(graph, Element::F32);
  Training training(graph, kImage, *store, backend, training_options(kImages));
  const SmallBatch batch;
  training.step(batch.images.data(), batch.targets.data(), kImages, {3, step, 1e-3});
  return training.collect().loss / kImages;
}

TEST(DeviceDropout, HasTheCpusMasksInASecondPhase) {
  DF_NEEDS_DEVICE();
  const auto device = float_backend(DeviceKind::Cuda);
  const double on_cpu = first_loss(cpu_backend(), 7);
  // Seven convolutions and dense layers and the pool over 16 x 16 places.
  const double allowed = network_tolerance<float>(8, 256, on_cpu);
  EXPECT_NEAR(first_loss(*device, 7), on_cpu, allowed);
  for (const std::uint64_t other : {0, 6, 8})
    EXPECT_GT(std::abs(first_loss(*device, other) - on_cpu), 2 * allowed) << other;
}

}  // namespace
}  // namespace dfengine::test
