// The whole network on a device: against the double oracle, and against itself (graph and eager,
// run and rerun, resumed and uninterrupted; what must hold on the CPU, too, is asked of both).
#include "engine/model/predictor.h"
#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "tests/engine/runtime/device_support.h"
#include "tests/engine/runtime/forwarding_backend.h"

namespace dfengine::test {
namespace {

constexpr DeviceConfig kDeterministic = deterministic(Precision::Fp16);

// A model whose pictures have kSide pixels, which no file's may.
Model small_model() {
  const NetworkConfig config = small_config();
  Model model{
      {}, make_network(config), std::move(*trained_like(network_graph(config), Element::F32))};
  model.config = config;
  model.network.image = kImage;
  return model;
}

Doubles logits_of(const Backend& backend, const SmallBatch& batch) {
  const Model model = small_model();
  Predictor network(model, backend, Predictor::Output::Logits);
  std::vector<float> out(at(batch.n()));
  network.run(batch.images.data(), batch.n(), out.data());
  std::vector<float> again(out.size());
  network.run(batch.images.data(), batch.n(), again.data());
  EXPECT_EQ(out, again) << "a captured graph gives other bits than its launches";
  return {out.begin(), out.end()};
}

Doubles inference_oracle(const SmallBatch& batch, double noise = 0, std::uint64_t seed = 0) {
  const Graph graph = network_graph(small_config());
  const auto store = trained_like(graph, Element::F64);
  add_noise(*store, noise, seed);
  PlanRun run(graph, batch_specs(batch.n(), kSide, Element::F64, false), {}, *store);
  run.forward({batch.inputs(Element::F64)[0]});
  return run.output("logits");
}

void expect_inference_equals_double(const Backend& backend, double unit) {
  const SmallBatch batch(3);  // devices pad it to four
  const Doubles want = inference_oracle(batch);
  // As in Condition: what rounding every weight once more does.
  double allowed = 0;
  for (std::uint64_t seed : {1, 2, 3})
    allowed = std::max(allowed, Condition::distance(want, inference_oracle(batch, 2 * unit, seed)));
  EXPECT_LE(Condition::distance(logits_of(backend, batch), want), 8 * allowed);
}

TEST(DeviceNetwork, InferenceEqualsDouble) {
  DF_NEEDS_DEVICE();
  const auto check = [](Precision precision, double unit) {
    SCOPED_TRACE(name_of(precision));
    expect_inference_equals_double(CudaBackend(deterministic(precision)), unit);
  };
  check(Precision::Fp32, unit_roundoff<float>());
  check(Precision::Fp16, unit_roundoff<Half>());
  check(Precision::Bf16, unit_roundoff<BFloat16>());
}

TEST(CpuNetwork, InferenceEqualsDouble) {
  expect_inference_equals_double(CpuBackend(shared_pool()), unit_roundoff<float>());
  if (!cpu::bf16_supported()) GTEST_SKIP() << "this CPU does not compute in bf16";
  expect_inference_equals_double(CpuBackend(shared_pool(), Element::BF16),
                                 unit_roundoff<BFloat16>());
}

TEST(CpuNetwork, DoesNotComputeInHalf) {
  EXPECT_THROW(CpuBackend(shared_pool(), Element::F16), UsageError);
}

template <class T>
void check_gradients(const Backend& backend, const Trainable& trainable) {
  const SmallBatch batch;
  const StepResult want = StepResult::oracle(batch, trainable);
  expect_gradients<T>(StepResult::on(backend, batch, trainable).gradients, want,
                      Condition::of<T>(want, batch, trainable));
}

TEST(CpuNetwork, StepEqualsDouble) {
  check_gradients<float>(CpuBackend(shared_pool()), everything());
  if (!cpu::bf16_supported()) GTEST_SKIP() << "this CPU does not compute in bf16";
  check_gradients<BFloat16>(CpuBackend(shared_pool(), Element::BF16), from_block(17));
}

template <class T>
void check_step(Precision precision, const Trainable& trainable) {
  SCOPED_TRACE(name_of(precision));
  const SmallBatch batch;
  const StepResult want = StepResult::oracle(batch, trainable);
  const Condition allowed = Condition::of<T>(want, batch, trainable);
  const CudaBackend backend(deterministic(precision));
  expect_gradients<T>(StepResult::on(backend, batch, trainable).gradients, want, allowed);
  SmallRun run(deterministic(precision), trainable, 0);
  EXPECT_NEAR(run.steps(2)[0], want.loss, allowed.loss());
}

TEST(DeviceNetwork, StepEqualsDouble) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  check_step<float>(Precision::Fp32, everything());
  check_step<Half>(Precision::Fp16, everything());
  check_step<BFloat16>(Precision::Bf16, from_block(17));
}

// A device whose kernels are those of a tuner.
class TunedBackend final : public ForwardingBackend {
 public:
  TunedBackend(const Backend& backend, cuda::Tuner& tuner)
      : ForwardingBackend(backend), maker_(&tuner) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return maker_.make(node, query);
  }

 private:
  CudaKernelMaker maker_;
};

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
  const StepResult want = StepResult::oracle(batch, everything());
  const Condition allowed = Condition::of<Half>(want, batch, everything());
  const CudaBackend device(deterministic(Precision::Fp16));
  const TunedBackend backend(device, tuner);
  expect_gradients<Half>(StepResult::on(backend, batch, everything()).gradients, want, allowed);
  EXPECT_GT(problems, 10u);
}

TEST(DeviceNetwork, GraphEagerAndRerunGiveTheSameBits) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun graph(kDeterministic), eager(deterministic(Precision::Fp16, false)),
      again(kDeterministic);
  const auto losses = graph.steps(3);
  EXPECT_EQ(losses, eager.steps(3));
  EXPECT_EQ(losses, again.steps(3));
  const auto state = graph.state();
  EXPECT_TRUE(state == eager.state());
  EXPECT_TRUE(state == again.state());
  EXPECT_EQ(graph.scaler().step, 3u);
}

// ---- On every backend; in half precision where it is a device -----------------------------------

class NetworkOn : public OnBackend {
 protected:
  void SetUp() override {
    OnBackend::SetUp();
    if (!IsSkipped() && GetParam() == DeviceKind::Cuda) {
      DF_SLOW_UNDER_SANITIZERS();
    }
  }
  static std::unique_ptr<Backend> backend() {
    if (GetParam() == DeviceKind::Cuda) return std::make_unique<CudaBackend>(kDeterministic);
    return float_backend(DeviceKind::Cpu);
  }
};
DF_ON_EVERY_BACKEND(NetworkOn);

// Batches in the backend's memory and batches that are copied there are the same work.
TEST_P(NetworkOn, AResidentStepGivesTheBitsOfAFedOne) {
  SmallRun fed(backend(), from_block(block_count())),
      resident(backend(), from_block(block_count()));
  const SmallBatch batch;
  const Backend& on = resident.backend();
  const Inputs inputs = batch.inputs(Element::F32);
  const OwnedMemory images = on.allocate(std::ssize(inputs[0])),
                    targets = on.allocate(std::ssize(inputs[1]));
  put(on, {images.get()}, inputs[0]);
  put(on, {targets.get()}, inputs[1]);
  // The resident step has the input of the one before.
  const StepInput input = fed.input();
  for (SmallRun* run : {&fed, &resident}) run->step(batch);
  fed.training().step(batch.images.data(), batch.targets.data(), batch.n(), input);
  resident.training().step_resident({images.get()}, {targets.get()}, batch.n());
  const StepSums sums = resident.training().collect();
  EXPECT_EQ(sums.n, 2 * batch.n());
  EXPECT_EQ(sums.loss, fed.training().collect().loss);
  EXPECT_TRUE(resident.state() == fed.state());
}

TEST_P(NetworkOn, APlannedLastBatchGivesTheBitsOfAnUnplannedOne) {
  SmallRun unplanned(backend()),
      planned(backend(), everything(), 0.2, [](auto&o) { o.rest = kImages - 1; });
  EXPECT_EQ(planned.steps(2), unplanned.steps(2));
  EXPECT_TRUE(planned.state() == unplanned.state());
}

TEST_P(NetworkOn, ResumedEqualsUninterrupted) {
  SmallRun whole(backend()), first(backend()), second(backend());
  whole.steps(2);
  const auto rest = whole.steps(2);
  first.steps(2);
  second.restore(first.state());
  EXPECT_EQ(second.steps(2), rest);
  EXPECT_TRUE(second.state() == whole.state());
}

// A step whose gradients overflow changes nothing but the loss scale.
TEST(DeviceNetwork, OverflowSkipsTheStepAndItsStatistics) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  SmallRun run(kDeterministic);
  run.steps(1);
  SmallRun::State before = run.state();
  before.scaler.loss_scale = 3e38f;
  run.restore(before);
  run.steps(1);
  const SmallRun::State after = run.state();
  EXPECT_TRUE(after.values == before.values);
  EXPECT_TRUE(after.moments.first == before.moments.first);
  EXPECT_TRUE(after.moments.second == before.moments.second);
  EXPECT_EQ(after.scaler.skipped, 1u);
  EXPECT_EQ(after.scaler.step, 1u);
  EXPECT_EQ(after.scaler.loss_scale, 1.5e38f);
}

// On the CPU, too, and where gradients are not scaled.
TEST_P(NetworkOn, NumbersThatAreNotFiniteSkipTheStepAndItsStatistics) {
  SmallRun run(float_backend(GetParam()), everything(), 0);
  const int i = run.store().find("head.fc2.weight");
  run.store().set(i, std::span<const float>(std::vector<float>(
                         at(run.store().specs()[at(i)].count()), std::nanf(""))));
  run.upload();
  const SmallRun::State before = run.state();
  run.step(SmallBatch());
  const SmallRun::State after = run.state();
  EXPECT_TRUE(after.values == before.values);
  EXPECT_TRUE(after.moments.first == before.moments.first);
  EXPECT_EQ(after.scaler.skipped, 1u);
  EXPECT_EQ(after.scaler.step, 0u);
  EXPECT_EQ(after.scaler.loss_scale, 1.0f);
}

// Stands for a launch that the driver refuses.
class FailingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  Kernel make(const Node&, const KernelQuery&) const override {
    Kernel kernel;
    kernel.forward = [](const StepContext&, const ForwardIo&) {
      throw DeviceError("cudaLaunch failed");
    };
    return kernel;
  }
};

TEST_P(NetworkOn, ADevicesErrorNamesTheLayer) {
  const auto working = backend();
  const FailingBackend failing(*working);
  Graph graph;
  const ValueId input = graph.add_input("x");
  graph.mark_output(graph.add("middle", Activate{Activation::Relu}, {input}), "y");
  const Spec x{{2, 4, 4, 8}, failing.element()};
  const ParameterStore store({}, Element::F32, 1);
  const ParameterBlock parameters(graph, store, failing);
  Session session(graph, {x}, {}, parameters);
  try {
    session.bound(2).binding->forward({failing.queue()});
    ADD_FAILURE();
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(),
                 "layer middle (relu), forward, [2, 4, 4, 8] to [2, 4, 4, 8]: cudaLaunch failed");
  }
}

TEST(DeviceNetwork, RefusesAWeightThatHalfCannotHold) {
  DF_NEEDS_DEVICE();
  const CudaBackend backend(kDeterministic);
  Model model = small_model();
  EXPECT_NO_THROW(Predictor(model, backend, Predictor::Output::Logits).reserve(1));
  const int i = model.parameters.find("features.0.1.weight");
  model.parameters.set(i, std::span<const float>(std::vector<float>(
                              at(model.parameters.specs()[at(i)].count()), 1e9f)));
  EXPECT_THROW(Predictor(model, backend, Predictor::Output::Logits).reserve(1), ModelFileError);
}

}  // namespace
}  // namespace dfengine::test
