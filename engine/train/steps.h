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
#include "engine/runtime/training.h"
#include "engine/train/schedule.h"

namespace dfengine {

struct StepsInput {
  Model& model;  // whose parameters are trained
  const Dataset& train;
  const Dataset& valid;
  const TrainOptions& options;
  TrainPhase phase;
  const Backend& backend;
  ThreadPool& pool;  // for decoding
  const std::atomic<bool>& interrupt;
  BadFiles& bad_files;  // gets the pictures that are left out
  const Cut& cut;       // of batches
};

class TrainingSteps {
 public:
  virtual ~TrainingSteps() = default;
  // Begins an epoch (counted from 0) at any step. May take long; returns early, unfit for next(),
  // once the interrupt is set.
  virtual void start(int epoch, Index first_step) = 0;
  // Queues the next batch's step. False after the last. A batch without a picture that can be read
  // counts and changes nothing.
  virtual bool next(const StepInput& input, StepEnd end) = 0;
  // Seconds that the last step waited for its batch.
  virtual double waited() const = 0;
  // What trains: parameters and their state live there.
  virtual Training& training() = 0;
  // The model's parameters on the validation split; nothing when interrupted.
  virtual std::optional<Predictions> validate() = 0;
  // Bytes all of this holds at its peak: arenas, prepared weights, batches, caches.
  virtual Index planned_bytes() const = 0;
};

// What both kinds of steps train with.
TrainingOptions training_options(const StepsInput& input);
BceLoss loss_of(const StepsInput& input);

// Whether a picture is the same in every epoch, but for mirroring: then features can be kept.
bool sees_same_pictures(const TrainOptions& options, const Model& model);

std::unique_ptr<TrainingSteps> make_image_steps(const StepsInput& input);
std::unique_ptr<TrainingSteps> make_feature_steps(const StepsInput& input);

// Loader settings that training and validation share.
LoaderOptions loader_options(const TrainOptions& options, const Model& model, int pool_size);
// Bytes a loader holds at its peak: cached pictures and batches ahead.
Index loader_bytes(const Dataset& dataset, const LoaderOptions& options);

}  // namespace dfengine
