// Runs a plan on a device: the counterpart of engine/runtime/executor.h.
#pragma once

#include "engine/runtime/binding.h"
#include "engine/runtime/device_parameters.h"

namespace dfengine {

class DeviceExecutor {
 public:
  // plan, store (for names and shapes), parameters and arena must outlive the executor. arena holds
  // at least plan.arena_bytes(). The plan is one for DeviceKind::Cuda; its network computes in
  // parameters.element(), else Error.
  DeviceExecutor(const Plan& plan, const ParameterStore& store, const DeviceParameters& parameters,
                 void* arena);

  // Folds and converts weights from the host's values and uploads them; waits.
  void prepare(const ParameterStore& store, const Device& device);
  // Queue the launches; nothing else.
  void forward(const DeviceContext& ctx, const StepWatch& watch = {}) const {
    run(ctx, 0, plan_.forward_steps(), watch);
  }
  void backward(const DeviceContext& ctx, const StepWatch& watch = {}) const {
    run(ctx, plan_.forward_steps(), static_cast<int>(binding_.steps().size()), watch);
  }

  // One step of the plan alone, for measurements.
  void step(const DeviceContext& ctx, int i) const { run(ctx, i, i + 1, {}); }

  const Plan& plan() const { return plan_; }
  // Device memory of a graph input or marked output.
  void* input(std::string_view name) const { return binding_.input(name); }
  void* output(std::string_view name) const { return binding_.output(name); }

 private:
  void run(const DeviceContext& ctx, int first, int last, const StepWatch& watch) const;

  const Plan& plan_;
  cuda::DeviceMemory prepared_;
  Binding binding_;
};

}  // namespace dfengine
