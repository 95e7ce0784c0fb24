// Runs a plan on the CPU: binds its buffers to memory once, then only calls layers.
#pragma once

#include "engine/runtime/binding.h"
#include "kernels/base/memory.h"

namespace dfengine {

class Executor {
 public:
  // plan, parameters and arena must outlive the executor and not move. arena holds at least
  // plan.arena_bytes(); executors that never run at the same time may share it. gradients: a block
  // laid out like the learned parameters, null for inference plans. Throws Error when sizes or
  // element types differ.
  Executor(const Plan& plan, ParameterStore& parameters, std::byte* gradients, const Memory& arena);

  // Recomputes folded and packed weights: call after the parameters of inference-form layers
  // change.
  void prepare();
  void forward(const LayerContext& ctx, const StepWatch& watch = {}) const {
    run(ctx, 0, plan_.forward_steps(), watch);
  }
  void backward(const LayerContext& ctx, const StepWatch& watch = {}) const {
    run(ctx, plan_.forward_steps(), static_cast<int>(binding_.steps().size()), watch);
  }

  const Plan& plan() const { return plan_; }
  // Memory of a graph input or marked output.
  void* input(std::string_view name) const { return binding_.input(name); }
  const void* output(std::string_view name) const { return binding_.output(name); }

 private:
  void run(const LayerContext& ctx, int first, int last, const StepWatch& watch) const;

  const Plan& plan_;
  Element element_;
  Memory prepared_;
  Binding binding_;
};

}  // namespace dfengine
