// A graph ready to run on a backend for whatever batch size is asked: plans, their memory, and what
// replays them. Prediction, training, Grad-CAM, unfolding and the benchmarks all use it.
#pragma once

#include <array>
#include <map>
#include <memory>

#include "engine/runtime/binding.h"

namespace dfengine {

class Session {
 public:
  // A plan with everything it needs to run.
  struct Bound {
    Plan plan;
    OwnedMemory prepared;
    std::unique_ptr<Binding> binding;
    // Of each kind of work, empty until its first run.
    std::array<std::function<void()>, 4> replay;
  };

  // samples: what each graph input holds, in the order of graph.inputs(), with n = 1; a batch has n
  // of each. It runs on the backend of `parameters`, which must outlive it: steps read the block,
  // and weights are prepared from its store. Activations are in the backend's element().
  Session(const Graph& graph, std::vector<Spec> samples, PlanOptions options,
          const ParameterBlock& parameters);

  // The plan for n samples, made when it is first asked for and then kept, as those of reserve();
  // of other sizes only the last one asked for. References are valid until the next call of either.
  // Throws UsageError for n < 1, else what Plan::build and the backend's allocation throw, and is
  // then as it was.
  Bound& bound(Index n);
  void reserve(Index n);
  // A plan for n samples by itself.
  Plan plan(Index n) const;
  // Memory of its own for the plan that reserve(n) kept: it may run beside the others.
  struct Lane {
    OwnedMemory arena;
    Index bytes = 0;
    std::unique_ptr<Binding> binding;
  };
  Lane lane(Index n) const;
  // Folds and packs weights again: call after the store's values changed.
  void prepare();
  // Runs body, which queues the work of this plan; from the second call on as the backend captured
  // it the first time. kind, below 4: of works that differ.
  void launch(Bound& bound, const std::function<void()>& body, std::size_t kind = 0) const;
  // Every work is captured anew.
  void forget_captured();
  // Activations and prepared weights.
  Index bytes() const;

 private:
  std::unique_ptr<Bound> make(Index n) const;
  void prepare(Bound& bound) const;
  std::unique_ptr<Binding> bind(const Bound& bound, std::byte* arena) const;
  void grow(Index bytes);

  Graph graph_;
  std::vector<Spec> samples_;
  PlanOptions options_;
  const ParameterBlock& parameters_;
  const Backend& backend_;
  std::map<Index, std::unique_ptr<Bound>> kept_;
  std::unique_ptr<Bound> last_;
  Index last_n_ = 0;
  // One for all: plans of a session never run at the same time, and between two runs the arena
  // holds nothing.
  OwnedMemory arena_;
  Index arena_bytes_ = 0;
};

}  // namespace dfengine
