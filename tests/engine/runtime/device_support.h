// A small network, its data, and the double oracle's view of it, for the tests of the device
// engine.
#pragma once

#include <functional>

#include "engine/runtime/device_inference.h"
#include "engine/runtime/device_training.h"
#include "engine/train/optimizer.h"
#include "tests/engine/plan/plan_support.h"
#include "tests/support/device.h"

namespace dfengine::test {

// 32 pixels leave 1x1 in the last blocks: as many rows for batch statistics as there are images.
constexpr Index kImages = 4, kSide = 32;

inline MobileNetV2Config small_config(double dropout = 0) {
  MobileNetV2Config config;
  config.width = 0.1;
  config.dropout = dropout;
  return config;
}

struct SmallBatch {
  std::vector<std::uint8_t> images;
  std::vector<float> targets;

  explicit SmallBatch(Index n = kImages, std::uint64_t seed = 1) {
    Random random(seed, RandomStream::Synth, 9);
    images.resize(static_cast<std::size_t>(n * kSide * kSide * 3));
    for (auto& v : images) v = static_cast<std::uint8_t>(random.below(256));
    for (Index i = 0; i < n; ++i) targets.push_back(static_cast<float>(i % 2));
  }
  Index n() const { return static_cast<Index>(targets.size()); }
};

// Multiplies every value of a store of doubles by 1 + noise * u, u uniform in [-1, 1).
inline void add_noise(ParameterStore& store, double noise, std::uint64_t seed) {
  auto* values = reinterpret_cast<double*>(store.data());
  const Doubles random = random_uniform<double>(store.total_count(), seed);
  for (Index i = 0; i < store.total_count(); ++i)
    values[i] *= 1 + noise * random[static_cast<std::size_t>(i)];
}

// Logits, loss and gradients in double on the CPU. noise: relative, of every weight.
struct Oracle {
  Doubles logits;
  double loss = 0;
  std::map<std::string, Doubles> gradients;

  Oracle(const SmallBatch& batch, const Trainable& trainable, double noise = 0,
         std::uint64_t seed = 0) {
    const Graph graph = make_mobilenet_v2_training(small_config(), Element::F64);
    auto store = trained_like(graph, Element::F64);
    add_noise(*store, noise, seed);
    const Spec specs[] = {{{batch.n(), kSide, kSide, 3}, Element::U8},
                          {{batch.n(), 1, 1, 1}, Element::F64}};
    const Plan plan = Plan::build(graph, specs, {Phase::Train, trainable});
    Optimizer optimizer(*store, plan.trained(), OptimizerKind::Adam, 0.0);
    const Memory arena(plan.arena_bytes());
    Executor e(plan, *store, optimizer.gradients(), arena);
    e.prepare();
    std::memcpy(e.input("images"), batch.images.data(), batch.images.size());
    std::copy(batch.targets.begin(), batch.targets.end(), static_cast<double*>(e.input("targets")));
    const StepState state;
    const LayerContext ctx{{shared_pool()}, &state};
    e.forward(ctx);
    logits = read(e.output("logits"), batch.n(), Element::F64);
    loss = *static_cast<const double*>(e.output("loss"));
    e.backward(ctx);
    for (const ParamSpec& p : plan.trained())
      gradients[p.name] = read(reinterpret_cast<const double*>(optimizer.gradients()) +
                                   store->offset(store->find(p.name)),
                               p.count(), Element::F64);
  }
};

// How far rounding to T may move a result of the whole network: as far as rounding every weight
// once more does, measured in double on this very network, times a safety factor (activations and
// gradients are rounded in each layer, too). What a small change of the input does to the output is
// the network's own condition; no bound per layer knows it.
class Condition {
 public:
  template <class T>
  static Condition of(const Oracle& exact, const SmallBatch& batch, const Trainable& trainable) {
    Condition c;
    for (std::uint64_t seed : {1, 2, 3}) {
      const Oracle noisy(batch, trainable, 2 * unit_roundoff<T>(), seed);
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

// One training run on a device: a few steps on the same batch.
class SmallRun {
 public:
  // change: of what else training is told.
  explicit SmallRun(const DeviceConfig& options, const Trainable& trainable = everything(),
                    double dropout = 0.2,
                    const std::function<void(DeviceTrainingOptions&)>& change = {})
      : config_(small_config(dropout)),
        device_(options),
        store_(trained_like(make_mobilenet_v2_training(config_), Element::F32)) {
    DeviceTrainingOptions o;
    o.batch = kImages;
    o.trainable = trainable;
    for (const ParamSpec& p : store_->specs())
      if (is_learned(p.role) && trainable(p)) o.trained.push_back(p);
    o.seed = 3;
    if (change) change(o);
    training_ = std::make_unique<DeviceTraining>(
        make_mobilenet_v2_training(config_, device_.element()), "images",
        Spec{{1, kSide, kSide, 3}, Element::U8}, *store_, device_, o);
    const auto bytes = static_cast<std::size_t>(store_->learned_count()) * sizeof(float);
    first_.resize(bytes);
    second_.resize(bytes);
    scaler_ = initial_scaler(options.precision);
    if (options.precision == Precision::Fp16)
      scaler_.loss_scale = 16;  // more overflows with so few rows
    upload();
  }

  // Losses of `count` steps, the last one on a smaller batch.
  std::vector<double> steps(int count, float lr = 1e-3f) {
    std::vector<double> losses;
    for (int i = 0; i < count; ++i) {
      const SmallBatch batch(i + 1 < count ? kImages : kImages - 1);
      training_->step(batch.images.data(), batch.targets.data(), batch.n(), lr);
      const StepSums sums = training_->collect();
      EXPECT_EQ(sums.n, batch.n());
      losses.push_back(sums.loss / static_cast<double>(sums.n));
    }
    return losses;
  }

  // Everything a checkpoint would hold.
  std::vector<std::byte> state() {
    training_->download(*store_, first_.data(), second_.data(), scaler_);
    std::vector<std::byte> all(store_->data(), store_->data() + store_->bytes());
    all.insert(all.end(), first_.begin(), first_.end());
    all.insert(all.end(), second_.begin(), second_.end());
    return all;
  }
  // Goes on from another run's state.
  void restore(SmallRun& from) {
    from.state();
    std::memcpy(store_->data(), from.store_->data(), static_cast<std::size_t>(store_->bytes()));
    training_->upload(*store_, from.first_.data(), from.second_.data(), from.scaler_);
  }

  // Puts the store's values back on the device, with moments of zero.
  void upload() {
    const std::vector<std::byte> zero(first_.size());
    training_->upload(*store_, zero.data(), zero.data(), scaler_);
  }

  ScalerState& scaler() { return scaler_; }
  ParameterStore& store() { return *store_; }
  DeviceTraining& training() { return *training_; }

 private:
  MobileNetV2Config config_;
  Device device_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<DeviceTraining> training_;
  std::vector<std::byte> first_, second_;
  ScalerState scaler_;
};

}  // namespace dfengine::test
