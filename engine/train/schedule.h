// What is trained in which epoch, and at which learning rate.
#pragma once

#include "engine/train/options.h"

namespace dfengine {

// Epochs with the same frozen blocks. Epochs count from 0 here.
struct TrainPhase {
  int first_epoch = 0;
  int frozen_blocks = 0;  // kWholeBase: the head alone
  bool operator==(const TrainPhase&) const = default;
};

// The phase an epoch belongs to.
TrainPhase phase_of(const TrainOptions& options, int epoch);

// Learning rate of a step, before plateau reductions. Head epochs: 10 lr, constant. After them: lr
// with linear warm-up, then constant or a half cosine that would reach 0 one step after the last
// (SGDR, Loshchilov & Hutter 2017, without restarts).
double learning_rate(const TrainOptions& options, Index steps_per_epoch, int epoch, Index step);

// --grad-accum-steps: the updates of an epoch; the last one may have fewer batches than the others.
Index updates_per_epoch(const TrainOptions& options, Index batches_per_epoch);
// Whether the gradients of this batch (counted from 0) make an update, those of
// the batches before it included. An epoch's last batch always does.
bool ends_group(const TrainOptions& options, Index batches_per_epoch, Index batch);

// ReduceLROnPlateau: halves the rate after more than kPatience epochs in a row without a better
// loss.
struct Plateau {
  static constexpr int kPatience = 2;
  static constexpr double kFactor = 0.5;
  // Keras' and PyTorch's default: smaller gains count as none.
  static constexpr double kMinGain = 1e-4;

  void observe(double validation_loss);

  double best = 1e300;
  int bad_epochs = 0;
  double factor = 1.0;  // of the scheduled rate
};

}  // namespace dfengine
