// Training steps of the head alone: the frozen base's pooled features are computed once per picture
// and mirror image, and read from memory in every later epoch.
#include <algorithm>

#include "engine/model/predictor.h"
#include "engine/train/ranks.h"
#include "engine/train/steps.h"
#include "engine/train/targets/mixing.h"

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
        bad_(dataset.samples.size(), false),
        features_(static_cast<Index>(known_.size()) * width * static_cast<Index>(sizeof(float))) {}

  float* row(std::size_t sample, bool mirrored) {
    const std::size_t i = sample + (mirrored ? dataset_.samples.size() : 0);
    return reinterpret_cast<float*>(features_.data()) + static_cast<Index>(i) * width_;
  }

  // Makes features[i] of mirror image mirrored[i] known for every sample i, unless interrupted.
  // Those that cannot be read are bad from then on. Each rank computes a part. False when
  // interrupted.
  bool fill(const std::vector<bool>& mirrored, Predictor& base, const std::atomic<bool>& interrupt,
            BadFiles& bad_files, Communicator& ranks) {
    std::vector<std::size_t> wanted;
    for (std::size_t i = 0; i < mirrored.size(); ++i)
      if (!bad_[i] && !known_[i + (mirrored[i] ? mirrored.size() : 0)]) wanted.push_back(i);
    if (wanted.empty()) return true;
    const auto begin_of = [&](int rank) {
      return slice_begin(std::ssize(wanted), ranks.size(), rank);
    };
    const std::vector<std::size_t> part(wanted.begin() + begin_of(ranks.rank()),
                                        wanted.begin() + begin_of(ranks.rank() + 1));
    std::vector<LeftOut> left_out;
    const bool finished = compute_part(part, mirrored, base, interrupt, left_out);
    if (ranks.any(!finished)) return false;
    share_left_out(ranks, left_out);
    for (const LeftOut& bad : left_out) {
      bad_[bad.index] = true;
      bad_files.add(dataset_, bad.index, bad.reason);
    }
    for (const std::size_t i : wanted) {
      if (bad_[i]) continue;
      known_[i + (mirrored[i] ? mirrored.size() : 0)] = true;
      // Rows that other ranks computed are zero here.
      ranks.sum(std::span(row(i, mirrored[i]), at(width_)));
    }
    return true;
  }

  // False when interrupted.
  bool compute_part(const std::vector<std::size_t>& wanted, const std::vector<bool>& mirrored,
                    Predictor& base, const std::atomic<bool>& interrupt,
                    std::vector<LeftOut>& left_out) {
    Dataset missing{dataset_.root, dataset_.split, {}, {}, dataset_.pack, dataset_.tars};
    for (const std::size_t i : wanted) missing.samples.push_back(dataset_.samples[i]);
    LoaderOptions once = options_;
    once.cache_bytes = 0;
    Loader loader(missing, once);
    loader.start(0);
    Batch batch;
    std::size_t done = 0;
    while (!interrupt && loader.next(batch)) {
      done += batch.indices.size() + batch.left_out.size();
      for (const LeftOut& bad : batch.left_out)
        left_out.push_back({static_cast<std::uint32_t>(wanted[bad.index]), bad.reason});
      compute(batch, wanted, mirrored, base);
    }
    return done == wanted.size();
  }

  // One picture at a time on the CPU; on a device a whole batch, with whatever lies behind the last
  // picture: either way a picture's features do not depend on which others are wanted.
  void compute(Batch& batch, const std::vector<std::size_t>& wanted,
               const std::vector<bool>& mirrored, Predictor& base) {
    const Index bytes = options_.size * options_.size * 3;
    const Index group = base.backend().kind() == DeviceKind::Cpu ? 1 : options_.batch;
    const auto sample = [&](Index k) { return wanted[batch.indices[static_cast<std::size_t>(k)]]; };
    for (Index k = 0; k < batch.n; ++k)
      if (mirrored[sample(k)]) mirror(batch.images.data() + k * bytes, options_.size);
    if (batch.n % group != 0)
      batch.images.resize(static_cast<std::size_t>((batch.n / group + 1) * group * bytes));
    pooled_.resize(static_cast<std::size_t>(group * width_));
    for (Index first = 0; first < batch.n; first += group) {
      base.run(batch.images.data() + first * bytes, group, pooled_.data());
      for (Index k = first; k < std::min(first + group, batch.n); ++k) {
        const std::size_t i = sample(k);
        std::copy_n(pooled_.data() + (k - first) * width_, width_, row(i, mirrored[i]));
      }
    }
  }

  bool bad(std::size_t sample) const { return bad_[sample]; }

  Index bytes() const { return features_.bytes(); }

 private:
  const Dataset& dataset_;
  LoaderOptions options_;
  Index width_;
  std::vector<bool> known_;
  std::vector<bool> bad_;
  std::vector<float> pooled_;
  Memory features_;
};

class FeatureSteps final : public TrainingSteps {
 public:
  explicit FeatureSteps(const StepsInput& in)
      : in_(in),
        options_(in.options),
        loader_(loader_options(in.options, in.model, in.pool.size())),
        base_(in.model, in.backend, Predictor::Output::Pooled),
        train_(in.train, loader_, base_.width(), in.options.augment.hflip),
        valid_(in.valid, loader_, base_.width(), false),
        head_(behind(in.model.network.graph, "pooled")),
        features_{{1, 1, 1, base_.width()}, Element::F32},
        training_(with_loss(head_, loss_of(in)), features_, in.model.parameters, in.backend,
                  training_options(in)),
        head_parameters_(head_, in.model.parameters, in.backend),
        validation_(head_, {features_}, {}, head_parameters_) {
    validation_.reserve(static_cast<Index>(slice_of(in)));
    base_.reserve(std::min(loader_.batch, std::ssize(in.train.samples)));
  }

  void start(int epoch, Index first_step) override {
    const auto number = static_cast<std::uint64_t>(epoch);
    const std::size_t n = in_.train.samples.size();
    order_ = epoch_order(static_cast<Index>(n), options_.seed, number, true);
    mirrored_.assign(n, false);
    if (options_.augment.hflip)
      for (std::size_t i = 0; i < n; ++i)
        mirrored_[i] = flip_sample(options_.seed, number, static_cast<std::uint32_t>(i));
    train_.fill(mirrored_, base_, in_.interrupt, in_.bad_files, *in_.cut.ranks);
    // The last batch may be smaller: behind it there is no more, not less than nothing.
    next_ = std::min(n, static_cast<std::size_t>(first_step * options_.batch_size));
  }

  bool next(const StepInput& input, StepEnd end) override {
    const std::size_t n =
        std::min(static_cast<std::size_t>(options_.batch_size), order_.size() - next_);
    if (n == 0) return false;
    rows_.clear();
    targets_.clear();
    std::vector<Index> begins;  // of slices, among the pictures that are not bad
    for (Index slice = 0; slice < in_.cut.slices; ++slice) {
      begins.push_back(std::ssize(targets_));
      const auto begin = slice_begin(static_cast<Index>(n), in_.cut.slices, slice);
      const auto end_of = slice_begin(static_cast<Index>(n), in_.cut.slices, slice + 1);
      for (Index k = begin; k < end_of; ++k) add_row(order_[next_ + at(k)]);
    }
    begins.push_back(std::ssize(targets_));
    smooth_targets(targets_, options_.smoothing);
    const Index whole = std::ssize(targets_);
    if (whole > 0 && in_.cut.whole()) {
      training_.step(rows_.data(), targets_.data(), whole, input, end);
    } else if (whole > 0) {
      std::vector<Slice> slices;
      for (Index i = in_.cut.first; i < in_.cut.first + in_.cut.count; ++i)
        slices.push_back({slice_begin(static_cast<Index>(n), in_.cut.slices, i),
                          begins[at(i + 1)] - begins[at(i)]});
      const Index first = begins[at(in_.cut.first)];
      training_.step(rows_.data() + first * base_.width(), targets_.data() + first, slices, whole,
                     input, end);
    }
    next_ += n;
    return true;
  }

  double waited() const override { return 0; }
  Training& training() override { return training_; }

  std::optional<Predictions> validate() override {
    const std::size_t n = in_.valid.samples.size(), slice = slice_of(in_);
    if (!valid_.fill(std::vector<bool>(n, false), base_, in_.interrupt, in_.bad_files,
                     *in_.cut.ranks))
      return std::nullopt;
    Predictions result;
    for (std::uint32_t i = 0; i < n; ++i)
      if (!valid_.bad(i)) result.index.push_back(i);
    const auto width = static_cast<std::size_t>(base_.width());
    head_parameters_.upload();
    validation_.prepare();
    const Binding& head = *validation_.bound(static_cast<Index>(slice)).binding;
    std::vector<float> rows(slice * width), logits(slice);
    for (std::size_t first = 0; first < result.index.size(); first += slice) {
      const std::size_t count = std::min(slice, result.index.size() - first);
      // Rows behind these are left as they were.
      for (std::size_t k = 0; k < count; ++k)
        std::copy_n(valid_.row(result.index[first + k], false), width, rows.data() + k * width);
      in_.backend.upload(head.input("pooled").address, rows.data(), std::ssize(rows) * kFloatBytes);
      head.forward({in_.backend.queue()});
      in_.backend.download(logits.data(), head.output("logits").address,
                           std::ssize(logits) * kFloatBytes);
      in_.backend.synchronize();
      for (std::size_t k = 0; k < count; ++k) {
        result.logit.push_back(logits[k]);
        result.prob.push_back(in_.model.probability(logits[k]));
        result.label.push_back(in_.valid.samples[result.index[first + k]].label);
      }
    }
    return result;
  }

  Index planned_bytes() const override {
    LoaderOptions once = loader_;
    once.cache_bytes = 0;
    return training_.bytes() + head_parameters_.bytes() + validation_.bytes() + base_.bytes() +
           train_.bytes() + valid_.bytes() + loader_bytes(in_.train, once);
  }

 private:
  void add_row(std::uint32_t sample) {
    if (train_.bad(sample)) return;
    const float* row = train_.row(sample, mirrored_[sample]);
    rows_.insert(rows_.end(), row, row + base_.width());
    targets_.push_back(static_cast<float>(in_.train.samples[sample].label));
  }

  // Rows that are validated together.
  static std::size_t slice_of(const StepsInput& in) {
    return std::min(static_cast<std::size_t>(in.options.batch_size), in.valid.samples.size());
  }

  const StepsInput in_;
  const TrainOptions& options_;
  LoaderOptions loader_;
  Predictor base_;
  FeatureCache train_, valid_;
  Graph head_;
  Spec features_;
  Training training_;
  ParameterBlock head_parameters_;
  Session validation_;
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
