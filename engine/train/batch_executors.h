// One training graph bound for the two batch sizes of an epoch: the full one and the last, smaller
// one.
#pragma once

#include "engine/executor.h"
#include "engine/train/steps.h"

namespace dfengine {

class BatchExecutors {
 public:
  // graph: inputs `input` (per sample as `sample`, n = 1) and "targets", outputs "logits" and
  // "loss".
  BatchExecutors(const Graph& graph, std::string input, Spec sample, const StepsInput& from);

  // samples: n samples of the input. Forward, backward, and sums over the batch.
  StepResult run(const void* samples, const float* targets, Index n, const StepState& state);
  // Arena and prepared weights.
  Index bytes() const;

 private:
  struct Bound {
    Plan plan;
    std::unique_ptr<Executor> executor;
  };
  Bound make(const Graph& graph, Index n, const StepsInput& from) const;

  std::string input_;
  Spec sample_;
  cpu::ThreadPool& pool_;
  Bound full_, rest_;  // rest_ is empty when the batch size divides the number of samples
  Index full_n_, rest_n_;
  Memory arena_;
};

}  // namespace dfengine
