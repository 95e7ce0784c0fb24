// dfengine ablate: the ladder of recipes, with several seeds, as one table and chart.
#include "engine/train/ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"

namespace dfengine {
namespace {

struct Arguments {
  AblationOptions values;
  DeviceOptions device;
};

std::string run_name(const Rung& rung, std::uint64_t seed, int fold) {
  return fmt::format("{}, seed {}{}", rung.title, seed,
                     fold > 0 ? fmt::format(", fold {}", fold) : "");
}

AblationObserver make_observer() {
  AblationObserver o;
  o.begin = [](const Rung& rung, std::uint64_t seed, int fold) {
    fmt::print("{}\n", run_name(rung, seed, fold));
    std::fflush(stdout);
  };
  o.train.epoch = [](const EpochRow& r, bool best) {
    fmt::print("  epoch {}: loss {:.4f} | valid loss {:.4f} accuracy {:.4f} AUC {:.4f} | {}{}\n",
               r.epoch, r.train_loss, r.valid_loss, r.valid_accuracy, r.valid_auc,
               clock_text(r.seconds), best ? " | best" : "");
    std::fflush(stdout);
  };
  o.end = [](const Rung& rung, const AblationRun& run) {
    fmt::print("{}: test accuracy {:.4f} ROC-AUC {:.4f}\n", run_name(rung, run.seed, run.fold),
               run.test.accuracy, run.test.roc_auc);
    std::fflush(stdout);
  };
  return o;
}

void run_ablate(Arguments& a) {
  a.device.resolve();
  a.values.threads = a.device.threads;
  a.values.device = a.device.kind();
  a.values.device_config = a.device.config();
  const std::vector<Rung> ladder = ablation_ladder(a.values);
  const std::vector<AblationRun> runs = ablate(a.values, make_observer(), catch_interrupt());
  const std::size_t wanted = ladder.size() * static_cast<std::size_t>(a.values.seeds) *
                             static_cast<std::size_t>(std::max(a.values.folds, 1));
  if (runs.size() < wanted)
    throw Exit{ExitCode::Interrupted,
               fmt::format("interrupted after {} of {} runs; the same command goes on", runs.size(),
                           wanted)};
  fmt::print(
      "\nTest figures, mean (least to greatest) over runs; accuracy at each model's own "
      "threshold\n{}\n{}/ablation.md .csv .json .svg\n",
      ablation_table(ladder, runs), a.values.output.string());
}

}  // namespace

void add_ablate(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "ablate",
      "Compare training from scratch with transferred weights, on the test pictures.",
      "Trains five recipes: the frozen base as the notebook had it, the same with the right "
      "pixels, the last 5 blocks, all blocks, and all from scratch. Each is run with every "
      "seed. OUTPUT holds a folder for each run, and ablation.md, .csv, .json and .svg with "
      "the mean, the least and the greatest test figures of each recipe; each model's "
      "threshold is chosen on the validation pictures. The test pictures are computed in float "
      "on the CPU. After Ctrl-C the same command goes on.",
      run_ablate);
  command
      .add_option(
          "--data", a.values.data,
          "Folder with train/, valid/ (or val/) and test/; with --folds it needs no splits.")
      ->required();
  command
      .add_option("--weights", a.values.weights,
                  "ImageNet weights: any file that info can read, or imagenet.")
      ->required();
  command.add_option("--output", a.values.output, "Folder for the runs and the comparison.")
      ->required();
  command
      .add_option("--seeds", a.values.seeds,
                  "Runs of each recipe, at least 1, with seeds 0, 1 and so on.")
      ->capture_default_str();
  command
      .add_option(
          "--folds", a.values.folds,
          "Divide all pictures of the set anew, so many times, at least 2: each is tested on "
          "once. Adds means and paired differences with standard errors over the folds, each of "
          "which is the mean of its seeds.")
      ->default_str("0, the set's own splits");
  add_choice(
      command, "--ladder", a.values.ladder,
      "transfer is the five recipes named below; accuracy starts from the default recipe and adds "
      "native pixels, a long schedule with turned and masked pictures, a moving average, "
      "which together are --recipe best, and a stem of stride 1.");
  command
      .add_option("--rungs", a.values.rungs,
                  "These recipes of the ladder alone: seed, normal, last, all and scratch of "
                  "transfer; resized, native, long, best and stem of accuracy, of which stem takes "
                  "four times as long as best.")
      ->default_str("all");
  command.add_option("--epochs", a.values.epochs, "Epochs of every run, at least 1.")
      ->check(within(1, std::numeric_limits<int>::max()))
      ->default_str(
          "10 for the notebook's recipes (seed, normal), 60 for long, best and stem, 20 for the "
          "others");
  a.device.add_to(command);
}

}  // namespace dfengine
