// Everything a run needs to go on as if it had never stopped: last.ckpt, a safetensors file.
#pragma once

#include "engine/data/sets/dataset.h"
#include "engine/model/model.h"
#include "engine/runtime/training.h"
#include "engine/train/schedule.h"

namespace dfengine {

// One line of results.csv.
struct EpochRow {
  int epoch = 0;  // counted from 1
  double train_loss = 0, train_accuracy = 0;
  double valid_loss = 0, valid_accuracy = 0, valid_auc = 0;
  double lr = 0;          // of the epoch's last step
  double loss_scale = 1;  // after it; 1 where gradients are not scaled
  Index skipped = 0;      // steps left out because gradients overflowed
  double seconds = 0;
  double data_wait = 0;  // part of the training time in which steps waited for pictures
};

// Whether an epoch's model beats the best so far: by validation AUC, and by validation loss where
// the AUCs are equal. The loss alone would not do: a network grows sure of itself while it still
// learns to rank, so that its loss turns upward early (Guo et al. 2017).
bool is_better(double auc, double loss, double best_auc, double best_loss);

// Where a run stands, between two steps. Random numbers need no state of their own: they are
// functions of (seed, epoch or step, index).
struct TrainState {
  int epoch = 0;   // counted from 0
  Index step = 0;  // steps of this epoch already taken
  std::uint64_t total_steps = 0;
  // Sums over this epoch's steps.
  double loss_sum = 0;
  Index seen = 0, correct = 0;
  double last_lr = 0;
  double seconds = 0;  // spent in this epoch so far
  double waited = 0;   // of these, for pictures
  // Over epochs.
  double best_auc = -1;      // validation
  double best_loss = 1e300;  // of that epoch
  int best_epoch = 0;        // counted from 1; 0: none yet
  Plateau plateau;
  std::vector<EpochRow> rows;
  std::vector<BadFile> bad_files;  // pictures left out so far
  bool finished = false;
  ScalerState scaler;

  // Steps left out since the last row.
  Index skipped_in_epoch() const;
  // Moves to the next epoch of so many; stop: there is none.
  void begin_next_epoch(bool stop, int epochs);
};

// What a checkpoint's file holds. `data_digest` names the pictures, because a resumed run must see
// the same. average: the moving average of all values of the model's store, empty without
// --model-ema.
weights::TensorFile checkpoint_to_tensors(const Model& model, const Moments& moments,
                                          std::span<const float> average, const TrainState& state,
                                          const TrainOptions& options,
                                          const std::string& data_digest);
// Writes it atomically.
void save_checkpoint(const std::filesystem::path& path, const Model& model, const Moments& moments,
                     std::span<const float> average, const TrainState& state,
                     const TrainOptions& options, const std::string& data_digest);

// What a checkpoint holds.
struct Checkpoint {
  Model model;
  TrainState state;
  TrainOptions options;
  std::string data_digest;
  Moments moments;
  std::vector<float> average;

  // Throws Error if the parts do not fit each other or hold numbers that no run reaches.
  void check() const;
};

// Throws ModelFileError naming file and cause.
Checkpoint checkpoint_from_tensors(weights::TensorFile file, const std::string& name_for_errors);
Checkpoint load_checkpoint(const std::filesystem::path& path);

// The options with which a run goes on; more epochs than it had let a finished one go on, too.
// `given` are those of the command. Throws UsageError for fewer epochs than the run was begun for.
TrainOptions resumed_options(const TrainOptions& given, std::optional<int> epochs,
                             Checkpoint& checkpoint);

}  // namespace dfengine
