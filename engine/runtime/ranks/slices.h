// A training step whose batch is cut into slices, so that one, two or more processes compute the
// same bits. What a layer or the step sums over pictures is summed over each slice and then over
// all slices in one binary tree; everything else of a picture does not depend on its neighbours,
// and a rank computes it for all of its slices at once. Ranks hold neighbouring slices, as many
// each, so that a rank's are a subtree.
#pragma once

#include <map>

#include "engine/runtime/ranks/slice_sums.h"
#include "engine/runtime/session.h"

namespace dfengine {

class Slices {
 public:
  // As Session's.
  Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
         const ParameterBlock& parameters, const Cut& cut);
  ~Slices();

  // Plans for batches of n: two sizes at most, whose steps launch() captures.
  void reserve(Index n);
  // Makes ready for a step on this rank's slices, whose pictures lie one slice after the other in
  // `samples` and `targets`. whole: pictures of all slices of all ranks, above 0.
  struct Inputs {
    Place samples, targets;
    Index n = 0;  // pictures
  };
  Inputs prepare(std::span<const Slice> slices, Index whole);
  // Queues forward, backward, and the gradients of the batch; calls record(sums) between the two,
  // with kLossSums of the batch.
  using Record = std::function<void(const double* sums)>;
  void queue(const StepContext& ctx, const StepWatch& watch, const Record& record);
  // Runs body, which queues this step, as Session::launch does, where batches of this size are cut
  // so. kind 0 or 1.
  void launch(const std::function<void()>& body, std::size_t kind);
  Index bytes() const;

 private:
  using Kernels = std::vector<Kernel>;  // by node
  // The trained parameters of a step's layer: how many values they have, 0 for others.
  struct Trained {
    std::vector<Index> counts;
    Index all = 0;
  };
  // Of a plan for so many pictures of this rank.
  struct Known {
    std::vector<Trained> trained;        // by step
    std::map<Index, Kernels> of_slices;  // by their pictures
  };
  Known& known_for(const Session::Bound& bound, Index n);
  const Kernels& kernels_for(const Session::Bound& bound, Known& known, Index slice);
  void forward(const StepContext& ctx, std::size_t step);
  void backward(const StepContext& ctx, std::size_t step);
  void add_sums(const StepContext& ctx, std::size_t step);
  void add_gradients(std::size_t step);
  ForwardIo forward_of(const BoundStep& step, Index slice, Place scratch) const;
  BackwardIo backward_of(const BoundStep& step, Index slice, Place scratch);
  ConstPlace at_slice(ConstPlace place, const Spec& spec, Index slice) const;
  Place at_slice(Place place, const Spec& spec, Index slice) const;
  void allocate_sums(const Plan& plan);
  void clear(std::byte* row, Index bytes) const;
  template <class Body>
  void for_slices(const StepContext& ctx, std::size_t step, Body&& body);

  const ParameterBlock& parameters_;
  const Backend& backend_;
  Cut cut_;
  std::string input_;
  Session session_;  // of all pictures of this rank
  Session::Bound* bound_ = nullptr;
  std::map<Index, Known> known_;  // by pictures of this rank
  Known* now_ = nullptr;
  OwnedMemory scratch_;      // of the slices' kernels, for each lane
  Index scratch_bytes_ = 0;  // of a lane

  // How a whole batch is cut.
  struct Usual {
    Index whole = 0;
    std::vector<Slice> slices;
  };
  std::vector<Usual> usual_;
  BatchPart part_;
  std::vector<Slice> slices_;
  std::vector<const Kernels*> slice_kernels_;  // by slice; null where it has no pictures
  std::vector<Index> begins_;                  // of slices, among the pictures of this rank
  bool empty_ = false;  // no pictures: it adds nothing, and its plan is that of one

  Index most_sums_ = 0, most_gradients_ = 0;
  OwnedMemory sums_, gradients_;            // of a layer, by slice: doubles, floats
  OwnedMemory zeros_;                       // as much as the larger of a slice's
  std::vector<std::vector<Place>> places_;  // of gradients, by slice
  std::vector<Place> absent_;               // where no gradients of parameters are wanted
  std::unique_ptr<SliceSums> adder_;
};

}  // namespace dfengine
