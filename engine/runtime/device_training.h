// A training step on a device, queued as one: forward, loss, backward, overflow check, Adam,
// running statistics, loss scale. The host neither waits nor looks until it collects results.
#pragma once

#include <memory>
#include <string>

#include "engine/runtime/device_executor.h"
#include "engine/runtime/input_slots.h"
#include "kernels/device_step.h"
#include "layers/graph.h"

namespace dfengine {

// Sums over steps.
struct StepSums {
  Index n = 0;
  double loss = 0;
  Index right = 0;  // at probability 0.5
};

// What of a run's state lives on the device beside parameters and moments.
struct ScalerState {
  std::uint64_t step = 0;  // optimiser steps applied
  std::uint64_t skipped = 0;
  float loss_scale = 1.0f;
  std::uint32_t good_steps = 0;
  bool operator==(const ScalerState&) const = default;
};
// Where a run of this precision begins.
ScalerState initial_scaler(Precision precision);

struct DeviceTrainingOptions {
  Index batch = 0;  // samples of a step at most
  Index rest = 0;   // samples of an epoch's last step, 0: as many
  Trainable trainable;
  std::vector<ParamSpec> trained;  // learned parameters that steps move
  AdamProblem adam;                // betas, eps, decoupled
  double weight_decay = 0;         // on weights alone
  std::uint64_t seed = 0;
  // Waits after every layer and throws at the first number that is not finite (finite_check.h).
  // Gradients in fp16 may overflow: the loss scale sees to them.
  bool check_finite = false;
};

class DeviceTraining {
 public:
  // graph: inputs `input` (per sample as `sample`, n = 1) and "targets"; outputs "logits" and
  // "loss". store and device must outlive it.
  DeviceTraining(const Graph& graph, std::string input, Spec sample, const ParameterStore& store,
                 const Device& device, const DeviceTrainingOptions& options);

  // Queues one step on n <= batch samples; reads host memory before it returns. A size that is
  // neither `batch` nor `rest` waits for its plan, which the next such size replaces.
  void step(const void* samples, const float* targets, Index n, float learning_rate);
  // Queues the same step on what lies on the device already: for measurements.
  void step_resident(const void* samples, const float* targets, Index n,
                     const float* learning_rate);
  // Waits for what is queued; sums of the steps since the last call.
  StepSums collect();

  // Both wait. Moments are laid out as the store's learned parameters.
  void download(ParameterStore& store, std::byte* first, std::byte* second, ScalerState& scaler);
  void upload(const ParameterStore& store, const std::byte* first, const std::byte* second,
              const ScalerState& scaler);

  Index bytes() const;

 private:
  struct Bound {
    Plan plan;
    std::unique_ptr<DeviceExecutor> executor;
    cuda::OwnedGraph captured;
  };
  Plan plan(Index n, cuda::Tuner* tuner) const;
  void bind(Bound& bound);
  Bound& bound(Index n);
  void queue(const Bound& b, Index n);
  void launch(Bound& b, Index n);
  StepWatch finite_watch() const;
  StepScalars scalars() const;
  void put(const StepScalars& scalars);
  StepScalars* device_scalars() const { return static_cast<StepScalars*>(scalars_.get()); }

  Graph graph_;
  std::string input_;
  Spec sample_;
  const ParameterStore& store_;
  const Device& device_;
  DeviceTrainingOptions options_;
  DeviceParameters parameters_;
  Index chunk_count_ = 0;
  cuda::DeviceMemory chunks_, scalars_, records_, learning_rate_, arena_;
  // As in BatchExecutors: odd_ is of the last size that is neither of the two.
  Bound full_, rest_, odd_;
  Index odd_n_ = 0;
  Index arena_bytes_ = 0;
  InputSlots slots_;
  std::vector<Index> pending_;  // batch sizes of steps whose records were not read
  StepSums sums_;
};

}  // namespace dfengine
