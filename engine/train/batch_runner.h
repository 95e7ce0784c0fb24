// Where a training batch is computed: on the CPU (batch_executors.h) or on a device
// (device_batches.h).
#pragma once

#include "engine/train/steps.h"
#include "layers/graph.h"

namespace dfengine {

class BatchRunner {
 public:
  virtual ~BatchRunner() = default;
  // samples: n samples of the input, n = 0 does nothing. Forward, backward and, where
  // updates_parameters(), the optimiser; the sums that are known by now, of this batch or of those
  // before.
  virtual StepResult run(const void* samples, const float* targets, Index n,
                         const StepState& state) = 0;
  virtual bool updates_parameters() const = 0;
  // Waits; sums of the batches that run() has not told yet.
  virtual StepResult collect() = 0;
  // Brings parameters, moments and the scaler's state to the model, the optimiser and StepsInput.
  virtual void to_host() = 0;
  // Arenas, prepared weights, copies of parameters.
  virtual Index bytes() const = 0;
};

// graph: inputs `input` (per sample as `sample`, n = 1) and "targets", outputs "logits" and "loss",
// in the element that element_for(in) says.
std::unique_ptr<BatchRunner> make_batch_runner(Graph graph, std::string input, Spec sample,
                                               const StepsInput& in);
Element element_for(const StepsInput& in);

}  // namespace dfengine
