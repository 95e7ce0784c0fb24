// A training step whose batch is cut into slices, so that one, two or more processes compute the
// same bits. Each slice goes through a plan of its own, layer by layer beside the others of this
// rank; what a layer or the step sums over pictures is summed over each slice and then over all
// slices in one binary tree. Ranks hold neighbouring slices, as many each, so that a rank's are a
// subtree. On the CPU alone.
#pragma once

#include "engine/runtime/ranks/communicator.h"
#include "engine/runtime/session.h"

namespace dfengine {

// How a batch is cut: into `slices`, of which this process has `count` from `first` on.
struct Cut {
  Index slices = 1, first = 0, count = 1;
  Communicator* ranks = nullptr;

  // The part of a rank. Throws UsageError unless slices is a power of two, and the ranks divide it.
  static Cut of(Index slices, Communicator& ranks);
  bool whole() const { return slices == 1; }
};

// The pictures of a slice, perhaps none.
struct SlicePictures {
  const void* samples = nullptr;
  const float* targets = nullptr;
  Index n = 0;
  Index first = 0;  // place of the first in the batch
};

// Of all slices.
struct BatchSums {
  double loss = 0, right = 0;  // right at probability 0.5
};

class Slices {
 public:
  // As Session's; parameters has cut.count slices.
  Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
         const ParameterBlock& parameters, const Cut& cut);

  // Plans for batches of n.
  void reserve(Index n);
  // Copies this rank's slices into place.
  void put(std::span<const SlicePictures> slices);
  // Forward, the sums of the loss, backward, and the gradients of the batch as slice 0's of the
  // parameters. whole: pictures of all slices of all ranks, above 0.
  BatchSums run(const StepContext& ctx, Index whole, const StepWatch& watch);
  Index bytes() const;

 private:
  struct Part {
    std::unique_ptr<Session> session;
    const Binding* binding = nullptr;
    bool empty = false;  // it adds nothing; its plan is that of one picture
    Slice slice;
  };

  void run_steps(StepContext ctx, StepKind kind, const StepWatch& watch);
  void add_sums(StepContext ctx, std::size_t step);
  BatchSums add_losses();
  void add_gradients(const Queue& queue);

  const ParameterBlock& parameters_;
  Cut cut_;
  std::string input_;
  Index sample_bytes_;
  std::vector<Part> parts_;
  std::vector<double> sums_;  // of a layer, by slice
};

}  // namespace dfengine
