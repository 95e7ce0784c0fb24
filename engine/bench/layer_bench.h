// How long each step of a plan takes: where the time of a network goes.
#pragma once

#include <string>
#include <vector>

#include "engine/bench/step_cost.h"
#include "engine/bench/workload.h"

namespace dfengine {

struct LayerTiming {
  std::string layer, kind;
  StepKind pass = StepKind::Forward;
  std::string kernels;  // which of several (kernels_text); "" on the CPU
  Shape output;
  double ms = 0;  // median
  StepCost cost;
};

struct LayerTable {
  Work work = Work::Infer;
  Index batch = 0;  // of the plan
  std::vector<LayerTiming> steps;
  Index arena_bytes = 0, prepared_bytes = 0;

  // Sums over the steps. The optimiser is not among them.
  double total_ms() const;
  StepCost total_cost() const;
};

// The plan that a call of `batch` runs: of a larger batch only a part goes through the network at
// once (Backend::inference_batch). On the CPU the steps are timed in their
// order, with data and caches as in a real pass. On a device each step, after it ran in its order,
// is repeated alone in a captured graph (with DeviceConfig::graphs) between two events; in-place
// steps then work on values that drift, which changes no time there.
LayerTable measure_layers(const BenchTarget& target, Work work, Index batch);

}  // namespace dfengine
