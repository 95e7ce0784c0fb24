// Adam or AdamW over the learned parameters of a store, with its moments and the gradients' memory.
#pragma once

#include "engine/runtime/parameters.h"
#include "engine/train/options.h"
#include "kernels/base/memory.h"

namespace dfengine {

class Optimizer {
 public:
  // parameters must outlive the optimiser. trained: names that steps move, as Plan::trained lists.
  Optimizer(ParameterStore& parameters, const std::vector<ParamSpec>& trained, OptimizerKind kind,
            double weight_decay);

  // One update from the gradients, and t += 1.
  void update(const cpu::Context& ctx, double lr);

  // Where backward writes: laid out like the learned parameters.
  std::byte* gradients() { return gradients_.data(); }
  // Moments, [learned_count] each; elements of untrained parameters stay 0.
  std::byte* first_moment() { return first_.data(); }
  std::byte* second_moment() { return second_.data(); }
  Index moment_bytes() const { return first_.bytes(); }
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  // Bytes that training touches: gradients and moments of the trained parameters.
  Index touched_bytes() const;

 private:
  // Neighbouring parameters that are treated alike.
  struct Run {
    Index offset, count;
    double decay;
  };

  ParameterStore& parameters_;
  OptimizerKind kind_;
  std::vector<Run> runs_;
  Memory gradients_, first_, second_;
  std::int64_t steps_ = 0;
};

}  // namespace dfengine
