// A training step whose batch is cut into slices, so that one, two or more processes compute the
// same bits. What a layer or the step sums over pictures is summed over each slice and then over all
// slices in one binary tree; everything else of a picture does not depend on its neighbours, and a
// rank computes it for all of its slices at once. Ranks hold neighbouring slices, as many each, so
// that a rank's are a subtree. On the CPU alone.
#pragma once

#include <map>

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

// Of all slices.
struct BatchSums {
  double loss = 0, right = 0;  // right at probability 0.5
};

class Slices {
 public:
  // As Session's.
  Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
         const ParameterBlock& parameters, const Cut& cut);

  // Plans for batches of n.
  void reserve(Index n);
  // Copies this rank's slices into place, whose pictures lie one slice after the other.
  void put(const void* samples, const float* targets, std::span<const Slice> slices);
  // Forward, the sums of the loss, backward, and the gradients of the batch. whole: pictures of all
  // slices of all ranks, above 0.
  BatchSums run(const StepContext& ctx, Index whole, const StepWatch& watch);
  Index bytes() const;

 private:
  const Plan& plan_of(Index n);
  void forward(const StepContext& ctx, std::size_t step);
  void backward(const StepContext& ctx, std::size_t step);
  void add_sums(const StepContext& ctx, std::size_t step);
  void add_gradients(const StepContext& ctx, std::size_t step);
  BackwardIo backward_of(const BoundStep& step, Index slice, Place scratch);
  void lay_out_gradients(const Plan& plan);
  template <class Body>
  void for_slices(const StepContext& ctx, std::size_t step, Body&& body);

  const ParameterBlock& parameters_;
  Cut cut_;
  std::string input_;
  Index sample_bytes_;
  Session session_;  // of all pictures of this rank
  const Session::Bound* bound_ = nullptr;
  std::map<Index, Plan> plans_;  // by the pictures of a slice: their kernels alone are used
  OwnedMemory scratch_;          // of those kernels, for each lane
  Index scratch_bytes_ = 0;      // of a lane
  BatchPart part_;
  std::vector<Slice> slices_;
  std::vector<const Plan*> slice_plans_;  // by slice; null where it has no pictures
  std::vector<Index> begins_;             // of slices, among the pictures of this rank
  bool empty_ = false;        // no pictures: it adds nothing, and its plan is that of one
  std::vector<double> sums_;  // of a layer, by slice

  // The trained parameters of a step's layer: how many values they have, 0 for others.
  struct Trained {
    std::vector<Index> counts;
    Index all = 0;
  };
  std::vector<Trained> trained_;            // by step
  std::vector<float> gradients_;            // of a layer, by slice
  std::vector<std::vector<Place>> places_;  // of those, by slice
  std::vector<Place> absent_;               // where no gradients of parameters are wanted
};

}  // namespace dfengine
