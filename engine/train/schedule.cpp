#include "engine/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dfengine {

TrainPhase phase_of(const TrainOptions& o, int epoch) {
  if (epoch < o.head_epochs) return {0, kWholeBase};
  const bool unfreezes = o.freeze > 0 && o.unfreeze_at_epoch > 0;
  const int unfreeze = unfreezes ? o.unfreeze_at_epoch - 1 : o.epochs;
  if (epoch >= unfreeze) return {std::max(unfreeze, o.head_epochs), 0};
  return {o.head_epochs, o.freeze};
}

double learning_rate(const TrainOptions& o, Index steps_per_epoch, int epoch, Index step) {
  constexpr double kHeadFactor = 10.0;
  if (epoch < o.head_epochs) return kHeadFactor * o.lr;
  const auto per_epoch = static_cast<double>(steps_per_epoch);
  const double now = (epoch - o.head_epochs) * per_epoch + static_cast<double>(step);
  const double warmup = o.warmup * per_epoch;
  if (now < warmup) return o.lr * (now + 1) / (warmup + 1);
  if (o.schedule != ScheduleKind::Cosine) return o.lr;
  const double total = (o.epochs - o.head_epochs) * per_epoch;
  const double progress = std::min(1.0, (now - warmup) / std::max(1.0, total - warmup));
  return o.lr * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

Index updates_per_epoch(const TrainOptions& o, Index batches_per_epoch) {
  return divide_up(batches_per_epoch, o.grad_accum_steps);
}

bool ends_group(const TrainOptions& o, Index batches_per_epoch, Index batch) {
  return (batch + 1) % o.grad_accum_steps == 0 || batch + 1 == batches_per_epoch;
}

void Plateau::observe(double loss) {
  if (loss < best * (1.0 - kMinGain)) {
    best = loss;
    bad_epochs = 0;
  } else if (++bad_epochs > kPatience) {
    factor *= kFactor;
    bad_epochs = 0;
  }
}

}  // namespace dfengine
