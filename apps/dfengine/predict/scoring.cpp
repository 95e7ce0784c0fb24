#include "apps/dfengine/predict/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "apps/dfengine/commands.h"
#include "engine/data/loader.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/stability.h"

namespace dfengine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr Index kBatch = 32;

}  // namespace

void end_if_unreadable(const ScoringCounts& c) {
  if (c.unreadable > 0)
    throw Exit{ExitCode::BadData,
               fmt::format("{} of {} pictures could not be read", c.unreadable, c.pictures)};
}

Scoring::Scoring(const Model& model, const ScoringOptions& options, const DeviceOptions& device,
                 const std::atomic<bool>& interrupted)
    : model_(model),
      options_(options),
      interrupted_(interrupted),
      pool_(device.thread_count()),
      backend_(device.open(pool_)),
      predictor_(model, *backend_, Predictor::Output::Logits),
      line_(!options.no_progress) {}

double Scoring::seconds() const {
  return seconds_since(begin_);
}

// Unsure is where changes of the picture flip it, or where it is too near the threshold. logits: of
// the picture as it is, then under each change.
void Scoring::judge(Answer& answer, std::span<const float> logits) const {
  answer.prob = model_.probability(logits[0]);
  for (const float logit : logits) require_number(options_.model, model_.probability(logit));
  const Stability stability = stability_of(logits, model_);
  const bool unsure = stability.flips || model_.is_unsure(*answer.prob);
  answer.verdict = unsure ? kUnsure : model_.verdict(*answer.prob);
  if (!options_.stability) return;
  answer.low = stability.low;
  answer.high = stability.high;
}

void Scoring::emit(const Answer& answer, const std::function<void(const Answer&)>& use) {
  ++counts_.pictures;
  if (answer.prob) {
    counts_.fake += *answer.prob >= model_.threshold ? 1 : 0;
    counts_.unsure += answer.verdict == kUnsure ? 1 : 0;
  } else {
    ++counts_.unreadable;
    line_.clear();
    fmt::print(stderr, "dfengine: {}\n", answer.error);
  }
  use(answer);
}

bool Scoring::refuse(const InputShard& shard, const std::string& error,
                     const std::function<void(const Answer&)>& use) {
  emit({.path = shard.container.string(), .error = error}, use);
  share_ = shard.share;
  return !interrupted_;
}

bool Scoring::run(const InputShard& shard, const Dataset& pictures,
                  const std::function<void(const Answer&)>& use) {
  const Index forms = options_.stability ? kStabilityForms : 1;
  const Index views = view_count(options_.views), total = std::ssize(pictures.samples);
  LoaderOptions loading =
      one_pass(model_.preparation(options_.max_pixels), pool_.size(), OnBad::Skip);
  loading.views = options_.views;
  loading.stability = options_.stability;
  loading.batch = kBatch / forms;
  Loader loader(pictures, loading);
  Batch batch;
  std::vector<float> logits;
  Index seen = 0;
  loader.start(0);
  while (!interrupted_ && loader.next(batch)) {
    // Blank pictures fill a batch up to a power of two: few plans are made, whatever comes.
    const auto n = batch.n == 0 ? Index{0} : static_cast<Index>(std::bit_ceil(at(batch.n)));
    const Index one = forms * views * model_.config.input_size * model_.config.input_size * 3;
    batch.images.resize(at(n * one));
    logits.resize(at(n * forms));
    if (n > 0) run_views(predictor_, batch.images.data(), n * forms, views, logits.data());
    auto bad = batch.left_out.begin();
    const auto emit_bad_before = [&](std::uint32_t index) {
      for (; bad != batch.left_out.end() && bad->index < index; ++bad)
        emit({.path = pictures.samples[bad->index].relative, .error = bad->reason}, use);
    };
    for (Index i = 0; i < batch.n; ++i) {
      const std::uint32_t index = batch.indices[at(i)];
      emit_bad_before(index);
      Answer answer{.path = pictures.samples[index].relative};
      judge(answer, std::span(logits).subspan(at(i * forms), at(forms)));
      emit(answer, use);
    }
    emit_bad_before(~std::uint32_t{0});
    seen += batch.n + std::ssize(batch.left_out);
    show_progress(shard, seen, total);
  }
  line_.clear();
  if (seen < total) return false;
  share_ = shard.share;
  return true;
}

void Scoring::show_progress(const InputShard& shard, Index done, Index total) {
  constexpr double kEvery = 0.2;
  if (!line_.on_terminal() || seconds_since(shown_) < kEvery) return;
  shown_ = Clock::now();
  const double seconds = seconds_since(begin_);
  const double rate = static_cast<double>(counts_.pictures) / std::max(seconds, 1e-9);
  if (shard.share <= 0)
    return line_.show(fmt::format("{} pictures, {:.0f} a second", counts_.pictures, rate));
  const double share =
      share_ + (shard.share - share_) * static_cast<double>(done) / static_cast<double>(total);
  line_.show(fmt::format("{} {} pictures, {:.0f} a second, {} left", bar(share), counts_.pictures,
                         rate, clock_text(seconds * (1 - share) / std::max(share, 1e-9))));
}

}  // namespace dfengine
