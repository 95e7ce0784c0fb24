// Where a training phase's batches come from and which network they go through.
//   image steps    pictures -> whole network: some of the base is trained
//   feature steps  pooled features, computed once -> head alone: the base is frozen
// Both give the same gradients for the head; the second skips the base.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "engine/data/sets/bad_files.h"
#include "engine/evaluate/evaluate.h"
#include "engine/model/model.h"
#include "engine/runtime/device_training.h"
#include "engine/train/optimizer.h"
#include "engine/train/schedule.h"

namespace dfengine {

// Sums over one batch.
struct StepResult {
  Index n = 0;
  double loss_sum = 0;
  Index correct = 0;  // at probability 0.5
  double waited = 0;  // seconds for the batch
};

struct StepsInput {
  Model& model;
  const Dataset& train;
  const Dataset& valid;
  const TrainOptions& options;
  TrainPhase phase;
  ThreadPool& pool;
  std::byte* gradients;  // laid out like the learned parameters
  const std::atomic<bool>& interrupt;
  BadFiles& bad_files;  // gets the pictures that are left out
  // On a device only; scaler is read at the start and written by to_host().
  const Device* device = nullptr;
  Optimizer* optimizer = nullptr;
  ScalerState* scaler = nullptr;
};

class BatchRunner;

class TrainingSteps {
 public:
  virtual ~TrainingSteps() = default;
  // Begins an epoch (counted from 0) at any step. May take long; returns early, unfit for next(),
  // once the interrupt is set.
  virtual void start(int epoch, Index first_step) = 0;
  // Forward and backward of the next batch; gradients are then complete. Nothing after the last. A
  // batch without a picture that can be read has n = 0 and leaves the gradients as they were.
  // On a device the parameters are moved too, and sums may come some steps later.
  virtual std::optional<StepResult> next(const StepState& state) = 0;
  virtual BatchRunner& runner() = 0;
  // Current parameters on the validation split; nothing when interrupted.
  virtual std::optional<Predictions> validate() = 0;
  // Bytes all of this holds at its peak: arenas, prepared weights, batches, caches.
  virtual Index planned_bytes() const = 0;
};

std::unique_ptr<TrainingSteps> make_image_steps(const StepsInput& input);
std::unique_ptr<TrainingSteps> make_feature_steps(const StepsInput& input);

// Loader settings that training and validation share.
LoaderOptions loader_options(const TrainOptions& options, const Model& model, int pool_size);
// Bytes a loader holds at its peak: cached pictures and batches ahead.
Index loader_bytes(const Dataset& dataset, const LoaderOptions& options);

}  // namespace dfengine
