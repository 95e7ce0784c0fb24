// The steps of a plan with every pointer filled in: made once, before the first run.
#pragma once

#include <functional>

#include "engine/plan/plan.h"
#include "engine/runtime/parameters.h"

namespace dfengine {

// Where the parameters of a store lie, by their position in it. Null: not there.
struct ParameterPlaces {
  std::vector<void*> values;     // what layers call params
  std::vector<void*> working;    // devices only: the same in the activations' element
  std::vector<void*> gradients;  // learned: of backward; running statistics: devices' next values
};

struct BoundStep {
  const Layer* layer = nullptr;
  StepKind kind = StepKind::Forward;
  LayerIo io;
};

// Called after each step that is run, to find faults: it may wait and read what the step wrote.
using StepWatch = std::function<void(const BoundStep&)>;

class Binding {
 public:
  // plan must outlive the binding. arena and prepared are the memory that the plan's offsets count
  // from. Throws Error for a parameter that is missing or of another size.
  Binding(const Plan& plan, const ParameterStore& parameters, const ParameterPlaces& places,
          std::byte* arena, std::byte* prepared);

  const std::vector<BoundStep>& steps() const { return steps_; }
  // Values of a node's parameters.
  std::span<void* const> params(int node) const {
    return nodes_[static_cast<std::size_t>(node)].params;
  }
  // Memory of a graph input or marked output.
  void* input(std::string_view name) const;
  void* output(std::string_view name) const;

 private:
  struct NodeBinding {
    std::vector<Spec> in;
    std::vector<void*> params, working, dparams;
  };

  void bind_nodes(const ParameterStore& parameters, const ParameterPlaces& places);
  void bind_steps();
  std::byte* buffer(int i) const;

  const Plan& plan_;
  std::byte* arena_;
  std::byte* prepared_;
  std::vector<NodeBinding> nodes_;
  std::vector<BoundStep> steps_;
};

}  // namespace dfengine
