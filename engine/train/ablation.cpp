#include "engine/train/ablation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/train/folds.h"
#include "engine/train/run_files.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr int kLastBlocks = 5;

// Settings that must be those of a run found in a folder.
nlohmann::json identity(TrainOptions options) {
  make_absolute(options);
  nlohmann::json j = to_json(options);
  // These do not change the result, or are filled in from the weights when the run begins.
  for (const char* key :
       {"output", "threads", "cache", "resize", "crop", "img_size", "stem_stride"})
    j.erase(key);
  return j;
}

// How far the run with these settings in the folder has come; nothing where it has not begun.
std::optional<TrainState> state_of_run(const TrainOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(options.output / kCheckpoint, error)) return std::nullopt;
  Checkpoint checkpoint = load_checkpoint(options.output / kCheckpoint);
  if (identity(checkpoint.options) != identity(options))
    throw UsageError(options.output.string() +
                     " holds a run with other settings: name another --output");
  return std::move(checkpoint.state);
}

AblationRun measure(const Rung& rung, const TrainOptions& options, const TrainState& state,
                    int fold, ThreadPool& pool) {
  const Model model = load_detector(options.output / kBestModel);
  const DataSource source = open_data(options, {"test"});
  const Predictions p =
      predict_split(model, source.splits.front(), options.max_pixels, options.on_bad, pool);
  AblationRun run;
  run.rung = rung.key;
  run.seed = options.seed;
  run.fold = fold;
  run.best_epoch = state.best_epoch;
  run.test = compute_metrics(p.scores(), p.label, model.threshold);
  constexpr double kHalf = 0.5;
  run.accuracy_at_half = compute_metrics(p.scores(), p.label, kHalf).accuracy;
  for (const EpochRow& row : state.rows) run.seconds += row.seconds;
  return run;
}

TrainOptions options_of_run(const Rung& rung, const std::filesystem::path& output, int seed,
                            int fold, const std::vector<std::filesystem::path>& tables) {
  TrainOptions run = rung.options;
  run.seed = static_cast<std::uint64_t>(seed);
  run.output = output / fmt::format("{}-{}", rung.key, seed);
  if (fold == 0) return run;
  run.output += fmt::format("-{}", fold);
  run.csv = tables[at(fold - 1)];
  run.data.clear();
  return run;
}

std::vector<Rung> accuracy_ladder(const AblationOptions& o) {
  const Model model = load_model(o.weights);
  TrainOptions resized = recipe("finetune");
  resized.img_size = 224;
  const TrainOptions native = recipe("finetune");
  const TrainOptions best = recipe("best");
  TrainOptions longer = best;
  longer.model_ema = false;
  TrainOptions stem = best;
  stem.stem_stride = 1;
  std::vector<Rung> ladder = {{"resized", "default at 224", resized},
                              {"native", "native pixels", native},
                              {"long", "and long, turned, masked", longer},
                              {"best", "and moving average", best},
                              {"stem", "and stem stride 1", stem}};
  for (Rung& r : ladder) {
    r.options.width = model.config.width;
    r.options.weights = o.weights;
  }
  return ladder;
}

std::vector<Rung> transfer_ladder(const AblationOptions& o) {
  const Model model = load_model(o.weights);
  const NetworkConfig& config = model.config;
  TrainOptions seed = recipe("seed");
  seed.freeze = model.network.block_count();
  TrainOptions normal = seed;
  normal.pixels = PixelScale::Model;
  TrainOptions all = recipe("finetune");
  TrainOptions last = all;
  last.freeze = model.network.block_count() - kLastBlocks;
  TrainOptions scratch = all;
  scratch.lr = 1e-3;
  scratch.head_epochs = 0;
  std::vector<Rung> ladder = {{"seed", "seed recipe", seed},
                              {"normal", "right normalisation", normal},
                              {"last", "last 5 blocks", last},
                              {"all", "all blocks", all},
                              {"scratch", "from scratch", scratch}};
  for (Rung& r : ladder) {
    r.options.img_size = config.input_size;
    r.options.width = config.width;
    if (r.key != "scratch") r.options.weights = o.weights;
  }
  return ladder;
}

// Better missed now than after the first run.
void require_splits(const DataOptions& data) {
  const DataSource source = open_data(data, {});
  for (const char* split : {"train", "valid", "test"})
    if (std::ranges::find(source.splits, split, &Dataset::split) == source.splits.end())
      throw UsageError(
          fmt::format("{}: there is no split {}, and the ladder is trained, chosen and measured on "
                      "train, valid and test: --folds N divides all pictures of a set into these",
                      source.layout, split));
}

void keep_named(std::vector<Rung>& ladder, const std::vector<std::string>& keys) {
  std::vector<std::string> known;
  for (const Rung& r : ladder) known.push_back(r.key);
  for (const std::string& key : keys)
    if (std::ranges::find(known, key) == known.end())
      throw UsageError(
          fmt::format("--rungs: the ladder has no {}, but {}", key, fmt::join(known, ", ")));
  std::erase_if(ladder,
                [&](const Rung& r) { return std::ranges::find(keys, r.key) == keys.end(); });
}

}  // namespace

void AblationOptions::validate() const {
  if (weights.empty()) throw UsageError("--weights: the ladder needs weights to start from");
  if (seeds < 1) throw UsageError("--seeds must be at least 1");
  if (folds < 0 || folds == 1) throw UsageError("--folds must be 0, for none, or at least 2");
  if (epochs < 0) throw UsageError("--epochs must not be negative");
}

std::vector<Rung> ablation_ladder(const AblationOptions& o) {
  std::vector<Rung> ladder =
      o.ladder == LadderKind::Accuracy ? accuracy_ladder(o) : transfer_ladder(o);
  if (!o.rungs.empty()) keep_named(ladder, o.rungs);
  for (Rung& r : ladder) {
    r.options.data = o.data;
    r.options.threads = o.threads;
    r.options.device = o.device;
    r.options.device_config = o.device_config;
    if (o.epochs > 0) r.options.epochs = o.epochs;
  }
  return ladder;
}

std::vector<AblationRun> ablate(const AblationOptions& options, const AblationObserver& observer,
                                const std::atomic<bool>& interrupt) {
  options.validate();
  DataOptions data;
  data.data = options.data;
  if (options.folds == 0) require_splits(data);
  const std::vector<Rung> ladder = ablation_ladder(options);
  ThreadPool pool(ThreadPool::count_for(options.threads));
  std::vector<std::filesystem::path> tables;
  if (options.folds > 0)
    tables = write_folds(data, options.folds, options.output / "folds", pool.size());
  std::vector<AblationRun> runs;
  const int rounds = std::max(options.folds, 1);
  for (int round = 0; round < options.seeds * rounds; ++round) {
    const int seed = round / rounds, fold = tables.empty() ? 0 : round % rounds + 1;
    for (const Rung& rung : ladder) {
      const TrainOptions run = options_of_run(rung, options.output, seed, fold, tables);
      std::optional<TrainState> state = state_of_run(run);
      if (!state || !state->finished) {
        if (observer.begin) observer.begin(rung, run.seed, fold);
        const TrainResult result = train(run, state.has_value(), observer.train, interrupt);
        if (result.end == TrainEnd::Interrupted) return runs;
        state = result.state;
      }
      runs.push_back(measure(rung, run, *state, fold, pool));
      write_ablation(options.output, ladder, runs);
      if (observer.end) observer.end(rung, runs.back());
    }
  }
  return runs;
}

}  // namespace dfengine
