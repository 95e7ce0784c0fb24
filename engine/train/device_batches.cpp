#include "engine/train/device_batches.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

DeviceTrainingOptions training_options(const StepsInput& in) {
  DeviceTrainingOptions o;
  const Index samples = std::ssize(in.train.samples);
  o.batch = std::min(in.options.batch_size, samples);
  o.rest = samples % o.batch;
  o.trainable = trainable_in(in.phase);
  for (const ParamSpec& p : in.model.parameters.specs())
    if (is_learned(p.role) && o.trainable(p)) o.trained.push_back(p);
  o.adam.decoupled = in.options.optimizer == OptimizerKind::AdamW;
  o.weight_decay = in.options.weight_decay;
  // Optimiser steps count from 0 in each phase, and dropout draws by them.
  o.seed = in.options.seed ^ static_cast<std::uint64_t>(in.phase.first_epoch) << 32;
  o.check_finite = in.options.check_finite;
  return o;
}

}  // namespace

DeviceBatches::DeviceBatches(Graph graph, std::string input, Spec sample, const StepsInput& in)
    : in_(in),
      training_(graph, std::move(input), sample, in.model.parameters, *in.device,
                training_options(in)) {
  training_.upload(in.model.parameters, in.optimizer->first_moment(), in.optimizer->second_moment(),
                   *in.scaler);
}

StepResult DeviceBatches::run(const void* samples, const float* targets, Index n,
                              const StepState& state) {
  if (n == 0) return {};
  training_.step(samples, targets, n, static_cast<float>(state.lr));
  if (++unread_ < kReadEvery) return {};
  return collect();
}

StepResult DeviceBatches::collect() {
  unread_ = 0;
  const StepSums sums = training_.collect();
  return {sums.n, sums.loss, sums.right};
}

void DeviceBatches::to_host() {
  training_.download(in_.model.parameters, in_.optimizer->first_moment(),
                     in_.optimizer->second_moment(), *in_.scaler);
  in_.optimizer->set_steps(static_cast<std::int64_t>(in_.scaler->step));
}

}  // namespace dfengine
