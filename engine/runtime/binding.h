// The steps of a plan with every place filled in: made once, before the first run.
#pragma once

#include <functional>

#include "engine/plan/plan.h"
#include "engine/runtime/parameter_block.h"

namespace dfengine {

struct BoundStep {
  const Node* node = nullptr;
  const Kernel* kernel = nullptr;
  StepKind kind = StepKind::Forward;
  std::vector<Spec> in, gradients;  // of the inputs, and of their gradients
  Spec out, out_gradient;
  ForwardIo forward;
  BackwardIo backward;

  // Of a step that is none of backward: makes its output.
  void make(const StepContext& ctx) const {
    (kind == StepKind::Again && kernel->again ? kernel->again : kernel->forward)(ctx, forward);
  }
};

// Called after each step that is run, to find faults: it may wait and read what the step wrote.
using StepWatch = std::function<void(const BoundStep&)>;

class Binding {
 public:
  // plan must outlive the binding and not move. arena and prepared are the memory that the plan's
  // offsets count from. Throws Error for a parameter that is missing.
  Binding(const Plan& plan, const ParameterBlock& parameters, std::byte* arena,
          std::byte* prepared);

  const std::vector<BoundStep>& steps() const { return steps_; }
  void forward(const StepContext& ctx, const StepWatch& watch = {}) const;
  void backward(const StepContext& ctx, const StepWatch& watch = {}) const;
  // One step of the plan alone, for measurements.
  void step(const StepContext& ctx, int i) const;
  // Memory of a graph input or marked output, and of an output's gradient.
  Place input(std::string_view name) const;
  Place output(std::string_view name) const;
  Place gradient(std::string_view output) const;

 private:
  struct Places {
    std::vector<ConstPlace> params, working;
    std::vector<Place> dparams, next;
  };

  void place_parameters(const ParameterBlock& parameters);
  void bind_steps(std::byte* prepared);
  Place buffer(int i) const;

  const Plan& plan_;
  std::byte* arena_;
  std::vector<Places> places_;  // by node
  std::vector<BoundStep> steps_;
};

}  // namespace dfengine
