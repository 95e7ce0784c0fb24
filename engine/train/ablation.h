// Ladders of recipes, which change one thing after the other: whether training from scratch or from
// ImageNet's weights is better, and what makes the default recipe better. Each recipe is run with
// several seeds and measured on the test pictures.
#pragma once

#include "engine/evaluate/metrics/classification.h"
#include "engine/train/trainer.h"

namespace dfengine {

// Transfer: from the seed notebook to training everything. Accuracy: what was tried to make the
// default recipe better, one thing added after the other.
enum class LadderKind { Transfer, Accuracy };
template <>
inline constexpr auto enum_names<LadderKind> = names_for<LadderKind>(
    "ladder", {{"transfer", LadderKind::Transfer}, {"accuracy", LadderKind::Accuracy}});

struct AblationOptions {
  std::filesystem::path data;     // with train, valid and test
  std::filesystem::path weights;  // what all rungs but scratch start from
  std::filesystem::path output;
  LadderKind ladder = LadderKind::Transfer;
  std::vector<std::string> rungs;  // their keys; none: all of the ladder
  int seeds = 3;                   // 0, 1, ... are run
  int folds = 0;                   // of all pictures (folds.h); 0: the set's own splits
  int epochs = 0;                  // of every run; 0 stands for each rung's own
  int threads = 0;                 // 0 stands for all that this process may use
  // Of training. The test pictures are computed in float on the CPU.
  DeviceKind device = DeviceKind::Cpu;
  DeviceConfig device_config;

  // Throws UsageError naming the option and the range.
  void validate() const;
};

// A recipe, without output and seed.
struct Rung {
  std::string key;    // of its run folders
  std::string title;  // for people
  TrainOptions options;
};

// The rungs of LadderKind::Transfer, which begins at the notebook's recipe:
//   seed      frozen base, pixels in [0, 1], Adam at 1e-3, 10 epochs
//   normal    the same with the weights' own normalisation
//   last      the last 5 of 19 blocks and the head, by the default recipe (Adam at 1e-4, cosine,
//             mirrored pictures, 20 epochs)
//   all       all blocks and the head, by the default recipe
//   scratch   the same from random weights, Adam at 1e-3, without epochs for the head alone
// and of LadderKind::Accuracy:
//   resized   the default recipe at 224 pixels, resampled where pictures have another size
//   native    at the pictures' own size
//   long      and 60 epochs, mirrored and turned pictures, masked squares
//   best      and a moving average of the parameters
//   stem      and with a stem of stride 1
// Throws UsageError for a key that the ladder does not have.
std::vector<Rung> ablation_ladder(const AblationOptions& options);

// A finished run on the test pictures.
struct AblationRun {
  std::string rung;
  std::uint64_t seed = 0;
  int fold = 0;                 // counted from 1; 0: none
  Metrics test;                 // at the model's own threshold
  double accuracy_at_half = 0;  // at threshold 0.5
  int best_epoch = 0;           // counted from 1
  double seconds = 0;           // of training and validation
};

struct AblationObserver {
  // Before a run that is not finished yet.
  std::function<void(const Rung&, std::uint64_t seed, int fold)> begin;
  TrainObserver train;
  std::function<void(const Rung&, const AblationRun&)> end;
};

// Runs every rung with seed 0, then every rung with seed 1, and so on, each in OUTPUT/KEY-SEED;
// with folds on each of them before the next seed, in OUTPUT/KEY-SEED-FOLD. Finished runs there are
// kept, and unfinished ones go on. Throws UsageError for a folder with other settings. After each
// run OUTPUT gets ablation.md, .csv, .json and .svg anew. Returns the finished runs, which are
// fewer than asked for once `interrupt` is set.
std::vector<AblationRun> ablate(const AblationOptions& options, const AblationObserver& observer,
                                const std::atomic<bool>& interrupt);

// Mean and range of the test figures per rung: a Markdown table. With folds a second one
// has means with their standard errors, and the mean paired differences from the first rung: over
// the folds, each of which counts with the mean of its seeds.
std::string ablation_table(const std::vector<Rung>& ladder, const std::vector<AblationRun>& runs);
// Writes the four files.
void write_ablation(const std::filesystem::path& folder, const std::vector<Rung>& ladder,
                    const std::vector<AblationRun>& runs);

}  // namespace dfengine
