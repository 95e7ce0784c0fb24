// What a plan is asked for.
#pragma once

#include <string>
#include <vector>

#include "engine/plan/kernel.h"
#include "layers/rewrites.h"

namespace dfengine {

struct PlanOptions {
  Phase phase = Phase::Infer;
  // Train: which parameters the optimiser moves. Backward is cut below the lowest of them, and what
  // stands below the cut runs in inference form.
  Trainable trainable = {};
  // Infer: outputs whose gradients are wanted, as Grad-CAM does. Backward then begins at output
  // `seed`, whose gradient the caller writes before the first step, and ends at these.
  std::vector<std::string> gradients_of = {};
  std::string seed = {};
  // Train: values behind activations and what these are made of, which are wide beside what a block
  // hands on, are not kept but made again when backward comes to their block (Chen et al. 2016).
  // The gradients have the same bits.
  bool grad_checkpoint = false;
  // Train: the plan is that of a slice, and sums over the batch come from all of them.
  bool sliced = false;
};

}  // namespace dfengine
