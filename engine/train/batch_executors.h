// One training graph bound for the batch sizes of an epoch: the full one, the last, smaller one,
// and those of batches that bad files made smaller.
#pragma once

#include "engine/runtime/executor.h"
#include "engine/train/batch_runner.h"

namespace dfengine {

class BatchExecutors final : public BatchRunner {
 public:
  // graph: inputs `input` (per sample as `sample`, n = 1) and "targets", outputs "logits" and
  // "loss".
  BatchExecutors(Graph graph, std::string input, Spec sample, const StepsInput& from);

  // samples: n samples of the input. Forward, backward, and sums over the batch; n = 0 does
  // nothing. A size other than the two that an epoch has by plan is bound when it is first met.
  StepResult run(const void* samples, const float* targets, Index n,
                 const StepState& state) override;
  bool updates_parameters() const override { return false; }
  StepResult collect() override { return {}; }  // run() told all
  void to_host() override {}
  Index bytes() const override;

 private:
  struct Bound {
    Plan plan;
    std::unique_ptr<Executor> executor;
  };
  Bound plan(Index n) const;
  void bind(Bound& bound) const;
  const Executor& executor(Index n);

  const StepsInput from_;
  Graph graph_;
  std::string input_;
  Spec sample_;
  // rest_ is empty when the batch size divides the number of samples. odd_: the last size that was
  // neither; one at a time, so that many sizes take no more memory than one.
  Bound full_, rest_, odd_;
  Index full_n_, rest_n_, odd_n_ = 0;
  Memory arena_;
};

}  // namespace dfengine
