// Training steps on pictures through the whole network.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/model/predictor.h"
#include "engine/train/picture_cache.h"
#include "engine/train/ranks.h"
#include "engine/train/steps.h"
#include "engine/train/targets/mixing.h"
#include "engine/train/targets/teachers.h"
#include "kernels/base/memory.h"

namespace dfengine {
namespace {

// What training sees of a picture: less, perhaps, than the finished model.
Index training_side(const TrainOptions& options, const Model& model) {
  return options.img_size > 0 ? options.img_size : model.config.input_size;
}

Spec training_image(const StepsInput& in) {
  Spec image = in.model.network.image;
  image.shape.h = image.shape.w = training_side(in.options, in.model);
  return image;
}

class ImageSteps final : public TrainingSteps {
 public:
  explicit ImageSteps(const StepsInput& in)
      : train_(in.train),
        valid_(in.valid),
        bad_files_(in.bad_files),
        interrupt_(in.interrupt),
        ranks_(*in.cut.ranks),
        together_(pictures_together(in)),
        valid_options_(of_rank(loader_options(in.options, in.model, in.pool.size()), ranks_)),
        train_options_(with_augmentation(loader_options(in.options, in.model, in.pool.size()), in)),
        train_loader_(in.train, train_options_),
        valid_loader_(in.valid, valid_options_),
        options_(in.options),
        teachers_(in.options, in.model, in.backend),
        training_(with_loss(in.model.network.graph, loss_of(in)), training_image(in),
                  in.model.parameters, in.backend, training_options(in)),
        predictor_(in.model, in.backend, Predictor::Output::Logits) {
    predictor_.reserve(
        std::max(together_, std::min(in.options.batch_size, std::ssize(in.valid.samples))));
  }

  void start(int epoch, Index first_step) override {
    epoch_ = epoch;
    step_ = first_step;
    train_loader_.start(static_cast<std::uint64_t>(epoch), first_step);
  }

  bool next(const StepInput& input, StepEnd end) override {
    const auto begin = std::chrono::steady_clock::now();
    if (!train_loader_.next(batch_)) return false;
    waited_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    double counts[] = {static_cast<double>(batch_.n), static_cast<double>(batch_.left_out.size())};
    ranks_.sum(counts);
    if (counts[1] > 0) share_left_out(ranks_, batch_.left_out);
    for (const LeftOut& bad : batch_.left_out) bad_files_.add(train_, bad.index, bad.reason);
    const Index step = step_++, whole = static_cast<Index>(counts[0]);
    if (whole == 0) return true;
    if (options_.mixup > 0)
      mix_batch(batch_, draw_share(options_.mixup, options_.seed,
                                   static_cast<std::uint64_t>(epoch_), step));
    if (teachers_.any()) teachers_.answer(batch_.images.data(), batch_.targets);
    smooth_targets(batch_.targets, options_.smoothing);
    if (train_options_.slices == 1)
      training_.step(batch_.images.data(), batch_.targets.data(), batch_.n, input, end);
    else
      training_.step(batch_.images.data(), batch_.targets.data(), batch_.slices, whole, input, end);
    return true;
  }

  double waited() const override { return waited_; }
  Training& training() override { return training_; }

  std::optional<Predictions> validate() override {
    predictor_.refresh();
    Predictions p = predict_split(
        predictor_, valid_, valid_loader_, [this](Index) { return !interrupt_; }, together_);
    if (ranks_.size() > 1) gather(p);
    for (const LeftOut& bad : p.left_out) bad_files_.add(valid_, bad.index, bad.reason);
    if (p.prob.size() + p.left_out.size() < valid_.samples.size()) return std::nullopt;
    return p;
  }

  Index planned_bytes() const override {
    return training_.bytes() + predictor_.bytes() + teachers_.bytes() +
           loader_bytes(train_, train_options_) + loader_bytes(valid_, valid_options_);
  }

 private:
  static LoaderOptions with_augmentation(LoaderOptions loader, const StepsInput& in) {
    loader.size = training_side(in.options, in.model);
    loader.shuffle = true;
    loader.augment = in.options.augment;
    loader.new_windows = in.model.crop == Crop::Random;
    loader.slices = in.cut.slices;
    loader.first_slice = in.cut.first;
    loader.slice_count = in.cut.count;
    return loader;
  }

  // Validation on a device, whose bits depend on how many pictures are computed at once: always as
  // many, so that any number of ranks gives the same. 0: pictures are judged one by one.
  static Index pictures_together(const StepsInput& in) {
    if (in.backend.kind() == DeviceKind::Cpu || in.cut.whole()) return 0;
    return in.backend.inference_batch(in.options.batch_size);
  }

  LoaderOptions of_rank(LoaderOptions loader, const Communicator& ranks) const {
    loader.batch =
        together_ > 0 ? together_ * ranks.size() : std::max<Index>(loader.batch, ranks.size());
    loader.slices = ranks.size();
    loader.first_slice = ranks.rank();
    return loader;
  }

  // What all ranks found, in the order of the split.
  void gather(Predictions& p) {
    const std::size_t n = valid_.samples.size();
    std::vector<double> logits(2 * n);  // and whether it is known
    for (std::size_t k = 0; k < p.index.size(); ++k) {
      logits[p.index[k]] = p.logit[k];
      logits[n + p.index[k]] = 1;
    }
    ranks_.sum(logits);
    share_left_out(ranks_, p.left_out);
    std::ranges::sort(p.left_out, {}, &LeftOut::index);
    Predictions all;
    all.left_out = std::move(p.left_out);
    for (std::uint32_t i = 0; i < n; ++i) {
      if (logits[n + i] == 0) continue;
      all.index.push_back(i);
      all.logit.push_back(logits[i]);
      all.prob.push_back(predictor_.model().probability(logits[i]));
      all.label.push_back(valid_.samples[i].label);
    }
    p = std::move(all);
  }

  const Dataset& train_;
  const Dataset& valid_;
  BadFiles& bad_files_;
  const std::atomic<bool>& interrupt_;
  Communicator& ranks_;
  Index together_;
  LoaderOptions valid_options_, train_options_;
  Loader train_loader_, valid_loader_;
  const TrainOptions& options_;
  Teachers teachers_;
  Training training_;
  Predictor predictor_;
  Batch batch_;
  int epoch_ = 0;
  Index step_ = 0;
  double waited_ = 0;
};

// Activations of a step of n pictures.
Index step_bytes(const StepsInput& in, Index n, bool grad_checkpoint) {
  const Element element = in.backend.element();
  const Graph graph = with_element(with_loss(in.model.network.graph), element);
  Spec image = training_image(in);
  image.shape.n = n;
  const Spec specs[] = {image, {{n, 1, 1, 1}, in.backend.parameter_element()}};
  const PlanOptions options{.phase = Phase::Train,
                            .trainable = training_options(in).trainable,
                            .grad_checkpoint = grad_checkpoint};
  return Plan::build(graph, specs, options, in.backend).arena_bytes();
}

// On the CPU a step that does not fit would be ended by the system, without a word.
void require_memory(const StepsInput& in) {
  const Index free = available_bytes();
  if (in.backend.kind() != DeviceKind::Cpu || free == 0) return;
  // The slices of a rank hold as much as a batch of their pictures, and may be longer by one each.
  const Index all = training_options(in).batch;
  const Index batch = divide_up(all, in.cut.slices) * in.cut.count;
  const Index wanted = step_bytes(in, batch, in.options.grad_checkpoint);
  if (wanted <= free) return;
  Index part = 1;
  while (part < batch && step_bytes(in, batch / part, true) > free) part *= 2;
  const std::string smaller =
      part == 1 ? "" : fmt::format(" --batch-size {} --grad-accum-steps {}", all / part, part);
  throw UsageError(fmt::format(
      "a step of {} pictures of {} pixels takes {} MiB, and the system has {} MiB left: try "
      "--grad-checkpoint{}, which takes {} MiB",
      batch, training_side(in.options, in.model), wanted >> 20, free >> 20, smaller,
      step_bytes(in, batch / part, true) >> 20));
}

}  // namespace

std::unique_ptr<TrainingSteps> make_image_steps(const StepsInput& input) {
  require_memory(input);
  return std::make_unique<ImageSteps>(input);
}

bool sees_same_pictures(const TrainOptions& options, const Model& model) {
  return !options.augment.beyond_mirror() && options.mixup == 0 && options.teachers.empty() &&
         model.crop != Crop::Random && training_side(options, model) == model.config.input_size;
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
  if (in.options.layer_decay != 1) o.rate = in.model.network.rates(in.options.layer_decay);
  o.clip_grad = in.options.clip_grad;
  o.gathers = in.options.grad_accum_steps > 1;
  o.averages = in.options.model_ema;
  o.grad_checkpoint = in.options.grad_checkpoint;
  o.cut = in.cut;
  return o;
}

BceLoss loss_of(const StepsInput& in) {
  const BceWeights weights = weights_for(in.options.class_weights, in.train);
  return {weights.real, weights.fake};
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
  loader.threads =
      options.device == DeviceKind::Cpu ? static_cast<int>(divide_up(pool_size, 8)) : pool_size;
  return loader;
}

Index loader_bytes(const Dataset& dataset, const LoaderOptions& options) {
  constexpr Index kBatchesHeld = 5;  // four ahead and the caller's
  const Index picture = options.size * options.size * 3;
  const Index all = static_cast<Index>(dataset.samples.size()) * picture;
  const bool cached = !dataset.pack && !options.new_windows &&
                      static_cast<std::uint64_t>(all) <= options.cache_bytes;
  return (cached ? all : 0) + std::min(kBatchesHeld * options.batch * picture, all);
}

}  // namespace dfengine
