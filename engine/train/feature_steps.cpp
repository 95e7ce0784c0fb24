// Training steps of the head alone: the frozen base's pooled features are computed once per picture
// and mirror image, and read from memory in every later epoch.
#include <algorithm>
#include <cstring>

#include "engine/train/batch_executors.h"
#include "engine/train/steps.h"

namespace dfengine {
namespace {

// Pooled features of one split, made on first use.
class FeatureCache {
 public:
  FeatureCache(const Dataset& dataset, const LoaderOptions& options, Index width, bool mirrored)
      : dataset_(dataset),
        options_(options),
        width_(width),
        known_(dataset.samples.size() * (mirrored ? 2 : 1), false),
        features_(static_cast<Index>(known_.size()) * width * static_cast<Index>(sizeof(float))) {}

  float* row(std::size_t sample, bool mirrored) {
    const std::size_t i = sample + (mirrored ? dataset_.samples.size() : 0);
    return reinterpret_cast<float*>(features_.data()) + static_cast<Index>(i) * width_;
  }

  // Makes features[i] of mirror image mirrored[i] known for every sample i, unless interrupted.
  void fill(const std::vector<bool>& mirrored, Predictor& base,
            const std::atomic<bool>& interrupt) {
    std::vector<std::size_t> wanted;
    Dataset missing{dataset_.root, dataset_.split, {}};
    for (std::size_t i = 0; i < mirrored.size(); ++i) {
      if (known_[i + (mirrored[i] ? mirrored.size() : 0)]) continue;
      wanted.push_back(i);
      missing.samples.push_back(dataset_.samples[i]);
    }
    if (wanted.empty()) return;
    LoaderOptions once = options_;
    once.cache_bytes = 0;
    Loader loader(missing, once);
    loader.start(0);
    Batch batch;
    std::size_t done = 0;
    while (!interrupt && loader.next(batch)) {
      for (Index k = 0; k < batch.n; ++k, ++done) {
        const std::size_t i = wanted[done];
        std::uint8_t* image = batch.images.data() + k * options_.size * options_.size * 3;
        if (mirrored[i]) mirror(image, options_.size);
        base.run(image, 1, row(i, mirrored[i]));
        known_[i + (mirrored[i] ? mirrored.size() : 0)] = true;
      }
    }
  }

  Index bytes() const { return features_.bytes(); }

 private:
  const Dataset& dataset_;
  LoaderOptions options_;
  Index width_;
  std::vector<bool> known_;
  Memory features_;
};

class FeatureSteps final : public TrainingSteps {
 public:
  explicit FeatureSteps(const StepsInput& in)
      : in_(in),
        options_(in.options),
        loader_(loader_options(in.options, in.model, in.pool.size())),
        base_(in.model, in.pool, Predictor::Output::Pooled),
        train_(in.train, loader_, base_.width(), in.options.hflip),
        valid_(in.valid, loader_, base_.width(), false),
        executors_(make_head_training(in.model.config), "pooled",
                   {{1, 1, 1, base_.width()}, Element::F32}, in),
        head_plan_(plan_head(in, base_.width())),
        head_arena_(head_plan_.arena_bytes()),
        head_(head_plan_, in.model.parameters, nullptr, head_arena_) {}

  void start(int epoch, Index first_step) override {
    const auto number = static_cast<std::uint64_t>(epoch);
    const std::size_t n = in_.train.samples.size();
    order_ = epoch_order(static_cast<Index>(n), options_.seed, number, true);
    mirrored_.assign(n, false);
    if (options_.hflip)
      for (std::size_t i = 0; i < n; ++i)
        mirrored_[i] = flip_sample(options_.seed, number, static_cast<std::uint32_t>(i));
    train_.fill(mirrored_, base_, in_.interrupt);
    // The last batch may be smaller: behind it there is no more, not less than nothing.
    next_ = std::min(n, static_cast<std::size_t>(first_step * options_.batch_size));
  }

  std::optional<StepResult> next(const StepState& state) override {
    const std::size_t n =
        std::min(static_cast<std::size_t>(options_.batch_size), order_.size() - next_);
    if (n == 0) return std::nullopt;
    const auto width = static_cast<std::size_t>(base_.width());
    rows_.resize(n * width);
    targets_.resize(n);
    for (std::size_t k = 0; k < n; ++k) {
      const std::size_t i = order_[next_ + k];
      std::copy_n(train_.row(i, mirrored_[i]), width, rows_.data() + k * width);
      targets_[k] = static_cast<float>(in_.train.samples[i].label);
    }
    next_ += n;
    return executors_.run(rows_.data(), targets_.data(), static_cast<Index>(n), state);
  }

  Predictions validate() override {
    // Once begun, validation is finished: its result is part of the epoch.
    const std::atomic<bool> never = false;
    valid_.fill(std::vector<bool>(in_.valid.samples.size(), false), base_, never);
    const std::size_t n = in_.valid.samples.size(), slice = slice_of(in_);
    const std::size_t row_bytes = static_cast<std::size_t>(base_.width()) * sizeof(float);
    head_.prepare();
    const auto* logits = static_cast<const float*>(head_.output("logits"));
    Predictions result;
    for (std::size_t first = 0; first < n; first += slice) {
      const std::size_t count = std::min(slice, n - first);  // rows behind are left as they were
      std::memcpy(head_.input("pooled"), valid_.row(first, false), count * row_bytes);
      head_.forward({{in_.pool}, nullptr});
      for (std::size_t k = 0; k < count; ++k) {
        result.logit.push_back(logits[k]);
        result.prob.push_back(in_.model.probability(logits[k]));
        result.label.push_back(in_.valid.samples[first + k].label);
      }
    }
    return result;
  }

  Index planned_bytes() const override {
    LoaderOptions once = loader_;
    once.cache_bytes = 0;
    return executors_.bytes() + head_arena_.bytes() + head_plan_.prepared_bytes() + base_.bytes() +
           train_.bytes() + valid_.bytes() + loader_bytes(in_.train, once);
  }

 private:
  // Rows that are validated together.
  static std::size_t slice_of(const StepsInput& in) {
    return std::min(static_cast<std::size_t>(in.options.batch_size), in.valid.samples.size());
  }

  static Plan plan_head(const StepsInput& in, Index width) {
    const Spec features{{static_cast<Index>(slice_of(in)), 1, 1, width}, Element::F32};
    return Plan::build(make_head(in.model.config), std::span(&features, 1), {Phase::Infer, {}});
  }

  const StepsInput in_;
  const TrainOptions& options_;
  LoaderOptions loader_;
  Predictor base_;
  FeatureCache train_, valid_;
  BatchExecutors executors_;
  Plan head_plan_;
  Memory head_arena_;
  Executor head_;
  std::vector<std::uint32_t> order_;
  std::vector<bool> mirrored_;
  std::vector<float> rows_, targets_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<TrainingSteps> make_feature_steps(const StepsInput& input) {
  return std::make_unique<FeatureSteps>(input);
}

}  // namespace dfengine
