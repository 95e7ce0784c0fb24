// What the steps of a plan must move and compute, by their specs: a floor, whatever the kernels do.
#pragma once

#include <vector>

#include "engine/plan/plan.h"

namespace dfengine {

struct StepCost {
  // Each input that the step reads, each output, what it saves, and its parameters: once. A batch
  // norm that makes the statistics or sums of a batch by itself passes twice over what it reads.
  // What kernels read again beside that, and scratch, is not in it.
  Index bytes = 0;
  // Of convolutions and dense layers, two per multiply-add; other layers count none.
  Index flops = 0;
  bool operator==(const StepCost&) const = default;
};

constexpr StepCost operator+(StepCost a, StepCost b) {
  return {a.bytes + b.bytes, a.flops + b.flops};
}

// One per plan.steps().
std::vector<StepCost> step_costs(const Plan& plan);
StepCost total_cost(const Plan& plan);

}  // namespace dfengine
