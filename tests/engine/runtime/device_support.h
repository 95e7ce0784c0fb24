// A small network on the backends of the engine, its data, and the double oracle's view of it.
#pragma once

#include <functional>

#include "engine/runtime/cuda/cuda_backend.h"
#include "engine/runtime/training.h"
#include "tests/engine/plan/plan_support.h"
#include "tests/support/device.h"

namespace dfengine::test {

// 32 pixels leave 1x1 in the last blocks: as many rows for batch statistics as there are images.
constexpr Index kImages = 4, kSide = 32;
constexpr Spec kImage{{1, kSide, kSide, 3}, Element::U8};

constexpr double kWidth = 0.1;

inline NetworkConfig small_config(double dropout = 0, double width = kWidth) {
  NetworkConfig config;
  config.width = width;
  config.dropout = dropout;
  return config;
}

// Chosen by the rule, so that two runs have the same kernels.
constexpr DeviceConfig deterministic(Precision precision, bool graphs = true) {
  return {precision, graphs, true};
}

// The CPU or a device, both in float.
inline std::unique_ptr<Backend> float_backend(DeviceKind kind) {
  if (kind == DeviceKind::Cuda)
    return std::make_unique<CudaBackend>(deterministic(Precision::Fp32));
  return std::make_unique<CpuBackend>(shared_pool());
}

// What tests derive from that hold on every backend: one body, run on the CPU and on a device.
class OnBackend : public testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (GetParam() == DeviceKind::Cuda) DF_NEEDS_DEVICE();
  }
};
// tests/gpu.sh selects by the word Device.
#define DF_ON_EVERY_BACKEND(suite)                                                      \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::Values(DeviceKind::Cpu, DeviceKind::Cuda), \
                           [](const testing::TestParamInfo<DeviceKind>& on) {           \
                             return on.param == DeviceKind::Cpu ? "Cpu" : "Device";     \
                           })

struct SmallBatch {
  std::vector<std::uint8_t> images;
  std::vector<float> targets;
  double width = kWidth;  // of the network that it is for

  explicit SmallBatch(Index n = kImages, std::uint64_t seed = 1) {
    Random random(seed, RandomStream::Synth, 9);
    images.resize(at(n * kImage.bytes()));
    for (auto& v : images) v = static_cast<std::uint8_t>(random.below(256));
    for (Index i = 0; i < n; ++i) targets.push_back(static_cast<float>(i % 2));
  }
  Index n() const { return std::ssize(targets); }
  // For a training graph, targets in this element.
  Inputs inputs(Element element) const {
    return {stored_bytes(Element::U8, {images.begin(), images.end()}),
            stored_bytes(element, {targets.begin(), targets.end()})};
  }
};

// Multiplies every value of a store of doubles by 1 + noise * u, u uniform in [-1, 1).
inline void add_noise(ParameterStore& store, double noise, std::uint64_t seed) {
  auto* values = reinterpret_cast<double*>(store.data());
  const Doubles random = random_uniform<double>(store.total_count(), seed);
  for (Index i = 0; i < store.total_count(); ++i) values[i] *= 1 + noise * random[at(i)];
}

// What step_memory() scales gradients by.
inline double loss_scale(const Backend& backend) {
  const StepMemory memory = step_memory(backend);
  StepScalars scalars;
  backend.download(&scalars, memory.context().scalars, sizeof scalars);
  backend.synchronize();
  return static_cast<double>(scalars.loss_scale);
}

// Logits, loss and gradients of one training step.
struct StepResult {
  Doubles logits;
  double loss = 0;
  std::map<std::string, Doubles> gradients;

  StepResult(const Backend& backend, const ParameterStore& store, const SmallBatch& batch,
             const Trainable& trainable) {
    PlanRun run(training_graph(small_config(0, batch.width)),
                batch_specs(batch.n(), kSide, backend.parameter_element(), true),
                {Phase::Train, trainable}, store, backend);
    const Results r = run.run(batch.inputs(backend.parameter_element()));
    logits = r.outputs.at("logits");
    loss = r.outputs.at("loss")[0];
    gradients = r.gradients;
    const double scale = loss_scale(backend);
    for (auto& [name, values] : gradients)
      for (double& v : values) v /= scale;
  }
  // In double on the CPU. noise: relative, of every weight.
  static StepResult oracle(const SmallBatch& batch, const Trainable& trainable, double noise = 0,
                           std::uint64_t seed = 0) {
    const auto store = trained_like(training_graph(small_config(0, batch.width)), Element::F64);
    add_noise(*store, noise, seed);
    return {cpu_backend(Element::F64), *store, batch, trainable};
  }
  static StepResult on(const Backend& backend, const SmallBatch& batch,
                       const Trainable& trainable) {
    const auto store =
        trained_like(training_graph(small_config(0, batch.width)), backend.parameter_element());
    return {backend, *store, batch, trainable};
  }
};

// How far rounding to T may move a result of the whole network: as far as rounding every weight
// once more does, measured in double on this very network, times a safety factor (activations and
// gradients are rounded in each layer, too). What a small change of the input does to the output is
// the network's own condition; no bound per layer knows it.
class Condition {
 public:
  template <class T>
  static Condition of(const StepResult& exact, const SmallBatch& batch,
                      const Trainable& trainable) {
    Condition c;
    for (std::uint64_t seed : {1, 2, 3}) {
      const StepResult noisy = StepResult::oracle(batch, trainable, 2 * unit_roundoff<T>(), seed);
      c.loss_ = std::max(c.loss_, std::abs(noisy.loss - exact.loss));
      for (const auto& [name, v] : exact.gradients)
        c.gradients_[name] = std::max(c.gradients_[name], distance(v, noisy.gradients.at(name)));
    }
    return c;
  }
  // Euclidean.
  static double distance(const Doubles& a, const Doubles& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum);
  }
  double loss() const { return kSafety * loss_; }
  double gradient(const std::string& name) const { return kSafety * gradients_.at(name); }
  // What stands before a batch norm in training has no effect when it shifts, so the gradient of a
  // project's norm shift is 0 but for rounding: its terms are those of the scale's gradient.
  static double shift(const Doubles& scale_gradient, double unit) {
    return kSafety * unit * distance(scale_gradient, Doubles(scale_gradient.size(), 0.0));
  }

 private:
  static constexpr double kSafety = 8;
  double loss_ = 0;
  std::map<std::string, double> gradients_;
};

template <class T>
void expect_gradients(const std::map<std::string, Doubles>& got, const StepResult& want,
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

// One training run: a few steps on the same batch.
class SmallRun {
 public:
  // change: of what else training is told.
  explicit SmallRun(std::unique_ptr<Backend> backend, const Trainable& trainable = everything(),
                    double dropout = 0.2, const std::function<void(TrainingOptions&)>& change = {})
      : backend_(std::move(backend)),
        graph_(training_graph(small_config(dropout))),
        store_(trained_like(graph_, Element::F32)) {
    TrainingOptions o;
    o.batch = kImages;
    o.trainable = trainable;
    if (change) change(o);
    training_ = std::make_unique<Training>(graph_, kImage, *store_, *backend_, o);
    scaler_ = initial_scaler(backend_->element());
    if (backend_->element() == Element::F16) scaler_.loss_scale = kLossScale;
    upload();
  }
  explicit SmallRun(const DeviceConfig& config, const Trainable& trainable = everything(),
                    double dropout = 0.2, const std::function<void(TrainingOptions&)>& change = {})
      : SmallRun(std::make_unique<CudaBackend>(config), trainable, dropout, change) {}

  // What the next step is told.
  StepInput input() const { return {.seed = 3, .step = steps_, .learning_rate = 1e-3}; }
  void step(const SmallBatch& batch) {
    training_->step(batch.images.data(), batch.targets.data(), batch.n(), input());
    ++steps_;
  }

  // Losses of `count` steps, the last one on a smaller batch.
  std::vector<double> steps(int count) {
    std::vector<double> losses;
    for (int i = 0; i < count; ++i) {
      const SmallBatch batch(i + 1 < count ? kImages : kImages - 1);
      step(batch);
      const StepSums sums = training_->collect();
      EXPECT_EQ(sums.n, batch.n());
      losses.push_back(sums.loss / static_cast<double>(sums.n));
    }
    return losses;
  }

  // Everything a checkpoint would hold. What trains is fetched.
  struct State {
    std::vector<std::byte> values;
    Moments moments;
    ScalerState scaler;
    std::uint64_t steps = 0;
    bool operator==(const State& other) const {
      return values == other.values && moments.first == other.moments.first &&
             moments.second == other.moments.second && scaler == other.scaler &&
             steps == other.steps;
    }
  };
  State state() {
    scaler_ = training_->download();
    return {
        {store_->data(), store_->data() + store_->bytes()}, training_->moments(), scaler_, steps_};
  }
  // Goes on from another run's state.
  void restore(const State& from) {
    std::ranges::copy(from.values, store_->data());
    scaler_ = from.scaler;
    steps_ = from.steps;
    training_->upload(from.moments, scaler_);
  }

  // Puts the store's values and the scaler back, with moments of zero.
  void upload() {
    const std::vector<float> zero(at(store_->learned_count()));
    training_->upload({zero, zero}, scaler_);
  }

  ScalerState& scaler() { return scaler_; }
  ParameterStore& store() { return *store_; }
  Training& training() { return *training_; }
  const Backend& backend() const { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
  Graph graph_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Training> training_;
  ScalerState scaler_;
  std::uint64_t steps_ = 0;
};

}  // namespace dfengine::test
