// Training steps on pictures through the whole network.
#include <algorithm>
#include <chrono>

#include "engine/model/predictor.h"
#include "engine/train/picture_cache.h"
#include "engine/train/steps.h"

namespace dfengine {
namespace {

class ImageSteps final : public TrainingSteps {
 public:
  explicit ImageSteps(const StepsInput& in)
      : train_(in.train),
        valid_(in.valid),
        bad_files_(in.bad_files),
        interrupt_(in.interrupt),
        valid_options_(loader_options(in.options, in.model, in.pool.size())),
        train_options_(with_augmentation(valid_options_, in.options)),
        train_loader_(in.train, train_options_),
        valid_loader_(in.valid, valid_options_),
        training_(with_loss(in.model.network.graph), in.model.network.image, in.model.parameters,
                  in.backend, training_options(in)),
        predictor_(in.model, in.backend, Predictor::Output::Logits) {
    predictor_.reserve(
        std::min(in.options.batch_size, static_cast<Index>(in.valid.samples.size())));
  }

  void start(int epoch, Index first_step) override {
    train_loader_.start(static_cast<std::uint64_t>(epoch), first_step);
  }

  bool next(const StepInput& input) override {
    const auto begin = std::chrono::steady_clock::now();
    if (!train_loader_.next(batch_)) return false;
    waited_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (const LeftOut& bad : batch_.left_out) bad_files_.add(train_, bad.index, bad.reason);
    if (batch_.n > 0) training_.step(batch_.images.data(), batch_.targets.data(), batch_.n, input);
    return true;
  }

  double waited() const override { return waited_; }
  Training& training() override { return training_; }

  std::optional<Predictions> validate() override {
    predictor_.refresh();
    Predictions p =
        predict_split(predictor_, valid_, valid_loader_, [this](Index) { return !interrupt_; });
    for (const LeftOut& bad : p.left_out) bad_files_.add(valid_, bad.index, bad.reason);
    if (p.prob.size() + p.left_out.size() < valid_.samples.size()) return std::nullopt;
    return p;
  }

  Index planned_bytes() const override {
    return training_.bytes() + predictor_.bytes() + loader_bytes(train_, train_options_) +
           loader_bytes(valid_, valid_options_);
  }

 private:
  static LoaderOptions with_augmentation(LoaderOptions loader, const TrainOptions& options) {
    loader.shuffle = true;
    loader.augment = options.augment;
    return loader;
  }

  const Dataset& train_;
  const Dataset& valid_;
  BadFiles& bad_files_;
  const std::atomic<bool>& interrupt_;
  LoaderOptions valid_options_, train_options_;
  Loader train_loader_, valid_loader_;
  Training training_;
  Predictor predictor_;
  Batch batch_;
  double waited_ = 0;
};

}  // namespace

std::unique_ptr<TrainingSteps> make_image_steps(const StepsInput& input) {
  return std::make_unique<ImageSteps>(input);
}

TrainingOptions training_options(const StepsInput& in) {
  const Index samples = std::ssize(in.train.samples);
  TrainingOptions o;
  o.batch = std::min(in.options.batch_size, samples);
  o.rest = samples % o.batch;
  o.trainable = in.model.network.trainable_above(in.phase.frozen_blocks);
  o.adam.decoupled = in.options.optimizer == OptimizerKind::AdamW;
  o.weight_decay = in.options.weight_decay;
  o.check_finite = in.options.check_finite;
  return o;
}

LoaderOptions loader_options(const TrainOptions& options, const Model& model, int pool_size) {
  LoaderOptions loader;
  loader.batch = options.batch_size;
  static_cast<Preparation&>(loader) = model.preparation(options.max_pixels);
  loader.seed = options.seed;
  loader.cache_bytes = memory_cache_bytes(options.cache);
  loader.on_bad = options.on_bad;
  // One decoder keeps about eight training threads busy (bench/NOTES.md, "decoding"). A device
  // leaves them all to decoding, and wants more pictures than they give.
  loader.threads = options.device == DeviceKind::Cpu ? (pool_size + 7) / 8 : pool_size;
  return loader;
}

Index loader_bytes(const Dataset& dataset, const LoaderOptions& options) {
  constexpr Index kBatchesHeld = 5;  // four ahead and the caller's
  const Index picture = options.size * options.size * 3;
  const Index all = static_cast<Index>(dataset.samples.size()) * picture;
  const bool cached = !dataset.pack && static_cast<std::uint64_t>(all) <= options.cache_bytes;
  return (cached ? all : 0) + std::min(kBatchesHeld * options.batch * picture, all);
}

}  // namespace dfengine
