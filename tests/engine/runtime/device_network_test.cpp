// The whole network on a device: against the double oracle, and against itself (graph and eager,
// run and rerun, resumed and uninterrupted).
#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

constexpr DeviceConfig kDeterministic = {Precision::Fp16, true, true};

Doubles device_logits(Precision precision, const SmallBatch& batch) {
  const Device device({precision, true, true});
  const Graph graph = make_mobilenet_v2(small_config(), device.element());
  const auto store = trained_like(graph, Element::F32);
  DeviceInference network(graph, "logits", kSide, *store, device);
  std::vector<float> out(static_cast<std::size_t>(batch.n()));
  network.run(batch.images.data(), batch.n(), out.data());
  std::vector<float> again(out.size());
  network.run(batch.images.data(), batch.n(), again.data());
  EXPECT_EQ(out, again) << "a captured graph gives other bits than its launches";
  return {out.begin(), out.end()};
}

Doubles inference_oracle(const SmallBatch& batch, double noise = 0, std::uint64_t seed = 0) {
  const Graph graph = make_mobilenet_v2(small_config(), Element::F64);
  const auto store = trained_like(graph, Element::F64);
  add_noise(*store, noise, seed);
  const Spec images{{batch.n(), kSide, kSide, 3}, Element::U8};
  const Plan plan = Plan::build(graph, std::span(&images, 1), {Phase::Infer, {}});
  const Memory arena(plan.arena_bytes());
  Executor e(plan, *store, nullptr, arena);
  e.prepare();
  std::memcpy(e.input("images"), batch.images.data(), batch.images.size());
  e.forward({{shared_pool()}, nullptr});
  return read(e.output("logits"), batch.n(), Element::F64);
}

TEST(DeviceNetwork, InferenceEqualsDouble) {
  DF_NEEDS_DEVICE();
  const SmallBatch batch(3);  // padded to four
  const Doubles want = inference_oracle(batch);
  const auto check = [&](Precision precision, double unit) {
    // As in Condition: what rounding every weight once more does.
    double allowed = 0;
    for (std::uint64_t seed : {1, 2, 3})
      allowed =
          std::max(allowed, Condition::distance(want, inference_oracle(batch, 2 * unit, seed)));
    const Doubles got = device_logits(precision, batch);
    EXPECT_LE(Condition::distance(got, want), 8 * allowed) << name_of(precision);
  };
  check(Precision::Fp32, unit_roundoff<float>());
  check(Precision::Fp16, unit_roundoff<Half>());
  check(Precision::Bf16, unit_roundoff<BFloat16>());
}

// Gradients of one step, as the device's blocks hold them.
std::map<std::string, Doubles> device_gradients(Precision precision, const SmallBatch& batch,
                                                const Trainable& trainable, float loss_scale,
                                                cuda::Tuner* tuner = nullptr) {
  const Device device({precision, false, true});
  const Graph graph = make_mobilenet_v2_training(small_config(), element_of(precision));
  const auto store = trained_like(graph, Element::F32);
  const DeviceParameters parameters(*store, device, true);
  const Spec specs[] = {{{batch.n(), kSide, kSide, 3}, Element::U8},
                        {{batch.n(), 1, 1, 1}, Element::F32}};
  const Plan plan = Plan::build(graph, specs, {Phase::Train, trainable, DeviceKind::Cuda, tuner});
  const cuda::DeviceMemory arena = cuda::allocate_device(plan.arena_bytes());
  DeviceExecutor e(plan, *store, parameters, arena.get());
  e.prepare(*store, device);
  const StepScalars scalars{.loss_scale = loss_scale};
  const cuda::DeviceMemory on = cuda::allocate_device(sizeof scalars);
  const cuda::Stream stream = device.compute();
  cuda::upload(stream, on.get(), &scalars, sizeof scalars);
  cuda::upload(stream, e.input("images"), batch.images.data(),
               static_cast<Index>(batch.images.size()));
  cuda::upload(stream, e.input("targets"), batch.targets.data(), batch.n() * 4);
  const DeviceContext ctx{stream, static_cast<const StepScalars*>(on.get())};
  e.forward(ctx);
  e.backward(ctx);
  std::map<std::string, Doubles> all;
  for (const ParamSpec& p : plan.trained()) {
    std::vector<float> values(static_cast<std::size_t>(p.count()));
    const void* from = parameters.places().gradients[at(store->find(p.name))];
    cuda::download(stream, values.data(), from, p.count() * 4);
    cuda::synchronize(stream);
    for (float v : values) all[p.name].push_back(v / loss_scale);
  }
  return all;
}

template <class T>
void expect_gradients(const std::map<std::string, Doubles>& got, const Oracle& want,
                      const Condition& allowed) {
  ASSERT_EQ(got.size(), want.gradients.size());
  for (const auto& [name, v] : want.gradients) {
    double bound = allowed.gradient(name);
    if (name.ends_with(".bias") && !name.starts_with("head")) {
      const std::string scale = name.substr(0, name.size() - 4) + "weight";
      bound = std::max(bound, Condition::shift(want.gradients.at(scale), 2 * unit_roundoff<T>()));
    }
    EXPECT_LE(Condition::distance(v, got.at(name)), bound) << name;
  }
}

template <class T>
void check_step(Precision precision, const Trainable& trainable, float loss_scale) {
  SCOPED_TRACE(name_of(precision));
  const SmallBatch batch;
  const Oracle want(batch, trainable);
  const Condition allowed = Condition::of<T>(want, batch, trainable);
  expect_gradients<T>(device_gradients(precision, batch, trainable, loss_scale), want, allowed);
  SmallRun run({precision, true, true}, trainable, 0);
  EXPECT_NEAR(run.steps(2)[0], want.loss, allowed.loss());
}

TEST(DeviceNetwork, StepEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  check_step<float>(Precision::Fp32, everything(), 1.0f);
  check_step<Half>(Precision::Fp16, everything(), 1024.0f);
  check_step<BFloat16>(Precision::Bf16, from_block(17), 1.0f);
}

// Times that choose the last candidate of each problem.
TEST(DeviceNetwork, AStepWithOtherKernelsEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  std::size_t problems = 0;
  cuda::Tuner tuner([&](const cuda::TunerProblem&) -> cuda::Measure {
    ++problems;
    return [us = 1000.0](const cuda::Candidate&) mutable { return --us; };
  });
  const SmallBatch batch;
  const Oracle want(batch, everything());
  const Condition allowed = Condition::of<Half>(want, batch, everything());
  const auto got = device_gradients(Precision::Fp16, batch, everything(), 1024.0f, &tuner);
  expect_gradients<Half>(got, want, allowed);
  EXPECT_GT(problems, 10u);
}

TEST(DeviceNetwork, GraphEagerAndRerunGiveTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun graph(kDeterministic), eager({Precision::Fp16, false, true}), again(kDeterministic);
  const auto losses = graph.steps(3);
  EXPECT_EQ(losses, eager.steps(3));
  EXPECT_EQ(losses, again.steps(3));
  const auto state = graph.state();
  EXPECT_EQ(state, eager.state());
  EXPECT_EQ(state, again.state());
  EXPECT_EQ(graph.scaler(), eager.scaler());
  EXPECT_EQ(graph.scaler().step, 3u);
}

// Batches in device memory and batches that are copied up are the same work.
TEST(DeviceNetwork, AResidentStepGivesTheBitsOfAFedOne) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun fed(kDeterministic, from_block(kFeatureBlocks)),
      resident(kDeterministic, from_block(kFeatureBlocks));
  const SmallBatch batch;
  const float rate = 1e-3f;
  const auto on_device = [](const auto& values) {
    const auto bytes = static_cast<Index>(values.size() * sizeof values[0]);
    cuda::DeviceMemory memory = cuda::allocate_device(bytes);
    cuda::upload(nullptr, memory.get(), values.data(), bytes);
    cuda::synchronize(nullptr);
    return memory;
  };
  const auto images = on_device(batch.images), targets = on_device(batch.targets),
             rates = on_device(std::vector<float>{rate});
  for (int i = 0; i < 2; ++i) {
    fed.training().step(batch.images.data(), batch.targets.data(), batch.n(), rate);
    resident.training().step_resident(images.get(), static_cast<const float*>(targets.get()),
                                      batch.n(), static_cast<const float*>(rates.get()));
  }
  const StepSums sums = resident.training().collect();
  EXPECT_EQ(sums.n, 2 * batch.n());
  EXPECT_EQ(sums.loss, fed.training().collect().loss);
  EXPECT_EQ(resident.state(), fed.state());
}

TEST(DeviceNetwork, APlannedLastBatchGivesTheBitsOfAnUnplannedOne) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun unplanned(kDeterministic),
      planned(kDeterministic, everything(), 0.2, [](auto&o) { o.rest = kImages - 1; });
  EXPECT_EQ(planned.steps(2), unplanned.steps(2));
  EXPECT_EQ(planned.state(), unplanned.state());
}

TEST(DeviceNetwork, ResumedEqualsUninterrupted) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun whole(kDeterministic), first(kDeterministic), second(kDeterministic);
  whole.steps(2);
  const auto rest = whole.steps(2);
  first.steps(2);
  second.restore(first);
  EXPECT_EQ(second.steps(2), rest);
  EXPECT_EQ(second.state(), whole.state());
}

// A step whose gradients overflow changes nothing but the loss scale.
TEST(DeviceNetwork, OverflowSkipsTheStepAndItsStatistics) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun run(kDeterministic);
  run.steps(1);
  const auto before = run.state();
  ScalerState huge = run.scaler();
  huge.loss_scale = 3e38f;
  std::vector<std::byte> first(
      before.begin() + run.store().bytes(),
      before.begin() + run.store().bytes() + run.store().learned_count() * 4);
  std::vector<std::byte> second(before.end() - run.store().learned_count() * 4, before.end());
  run.training().upload(run.store(), first.data(), second.data(), huge);
  run.steps(1);
  EXPECT_EQ(run.state(), before);
  EXPECT_EQ(run.scaler().skipped, 1u);
  EXPECT_EQ(run.scaler().step, 1u);
  EXPECT_EQ(run.scaler().loss_scale, 1.5e38f);
}

// Stands for a launch that the driver refuses.
struct FailingLayer final : Layer {
  using Layer::Layer;
  std::string kind() const override { return "failing"; }
  Spec infer(std::span<const Spec> in) const override { return in[0]; }
  LayerPlan plan(const PlanQuery&) const override { return {}; }
  void forward(const LayerContext&, const LayerIo&) const override {}
  void device_forward(const DeviceContext&, const LayerIo&) const override {
    throw DeviceError("cudaLaunch failed");
  }
};

TEST(DeviceNetwork, ADevicesErrorNamesTheLayer) {
  DF_NEEDS_DEVICE();
  const Device device({Precision::Fp32, true});
  Graph graph;
  const ValueId input = graph.add_input("x");
  graph.mark_output(graph.add(std::make_shared<FailingLayer>("middle"), {input}), "y");
  const Spec x{{2, 4, 4, 8}, Element::F32};
  const Plan plan = Plan::build(graph, std::span(&x, 1), {Phase::Infer, {}, DeviceKind::Cuda});
  const ParameterStore store({}, Element::F32, 1);
  const DeviceParameters parameters(store, device, false);
  const cuda::DeviceMemory arena = cuda::allocate_device(plan.arena_bytes());
  const DeviceExecutor e(plan, store, parameters, arena.get());
  try {
    e.forward({device.compute(), nullptr});
    ADD_FAILURE();
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(),
                 "layer middle (failing), forward, [2, 4, 4, 8] to [2, 4, 4, 8]: "
                 "cudaLaunch failed");
  }
}

TEST(DeviceNetwork, RefusesANetworkOfAnotherElement) {
  DF_NEEDS_DEVICE();
  const Device device({Precision::Fp16, true});
  const Graph graph = make_mobilenet_v2(small_config(), Element::F32);
  const auto store = trained_like(graph, Element::F32);
  DeviceInference network(graph, "logits", kSide, *store, device);
  EXPECT_THROW(network.reserve(1), Error);
}

TEST(DeviceNetwork, RefusesAWeightThatHalfCannotHold) {
  DF_NEEDS_DEVICE();
  const Device device(kDeterministic);
  const Graph graph = make_mobilenet_v2(small_config(), device.element());
  const auto store = trained_like(graph, Element::F32);
  const int i = store->find("features.0.1.weight");
  store->set(i, std::span<const float>(std::vector<float>(
                    static_cast<std::size_t>(store->specs()[at(i)].count()), 1e9f)));
  DeviceInference network(graph, "logits", kSide, *store, device);
  EXPECT_THROW(network.reserve(1), ModelFileError);
}

}  // namespace
}  // namespace dfengine::test
