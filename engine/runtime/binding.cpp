#include "engine/runtime/binding.h"

#include <unordered_set>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

std::string place_of(const BoundStep& step) {
  std::string shapes;
  for (const Spec& in : step.in) shapes += to_string(in.shape) + " ";
  return "layer " + step.node->name + " (" + kind(step.node->operation) + "), " +
         std::string(name_of(step.kind)) + ", " + shapes + "to " + to_string(step.out.shape);
}

// The driver does not know for which layer it was asked.
void run(const BoundStep& step, const StepContext& ctx) try {
  if (step.kind == StepKind::Backward)
    step.kernel->backward(ctx, step.backward);
  else
    step.make(ctx);
} catch (const DeviceError& e) {
  throw DeviceError(place_of(step) + ": " + e.what());
}

void run_all(std::span<const BoundStep> steps, const StepContext& ctx, const StepWatch& watch) {
  for (const BoundStep& step : steps) {
    run(step, ctx);
    if (watch) watch(step);
  }
}

}  // namespace

Binding::Binding(const Plan& plan, const ParameterBlock& parameters, std::byte* arena,
                 std::byte* prepared)
    : plan_(plan), arena_(arena) {
  place_parameters(parameters);
  bind_steps(prepared);
}

void Binding::place_parameters(const ParameterBlock& parameters) {
  std::unordered_set<std::string_view> trained;
  for (const ParamSpec& p : plan_.trained()) trained.insert(p.name);
  places_.resize(plan_.graph().nodes().size());
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Node& node = plan_.graph().nodes()[i];
    Places& places = places_[i];
    for (const ParamSpec& p : params(node.operation, node.name)) {
      const int index = parameters.store().find(p.name);
      if (index < 0 || !parameters.value(index))
        throw Error("layer " + node.name + ": no parameter " + p.name);
      const bool wanted = plan_.runs_backward(static_cast<int>(i)) && trained.contains(p.name);
      if (wanted && !parameters.gradient(index))
        throw Error("layer " + node.name + ": the parameters are not for training, " + p.name);
      places.params.push_back(parameters.value(index));
      places.working.push_back(parameters.working(index));
      places.dparams.push_back(wanted ? parameters.gradient(index) : Place{});
      places.next.push_back(parameters.next(index));
    }
  }
}

void Binding::bind_steps(std::byte* prepared) {
  for (const Step& step : plan_.steps()) {
    const Node& node = plan_.node(step.node);
    const Places& places = places_[at(step.node)];
    BoundStep bound;
    bound.node = &node;
    bound.kernel = &plan_.kernel(step.node);
    bound.kind = step.kind;
    bound.in = input_specs(node, plan_.specs());
    bound.out = plan_.spec(node.output);
    bound.out_gradient = plan_.gradient_spec(node.output);
    for (ValueId v : node.inputs) bound.gradients.push_back(plan_.gradient_spec(v));
    if (step.kind != StepKind::Backward) {
      ForwardIo& io = bound.forward;
      for (std::size_t k = 0; k < kMaxInputs; ++k) io.x[k] = buffer(step.x[k]);
      io.y = buffer(step.y);
      io.saved = buffer(step.saved);
      io.scratch = buffer(step.scratch);
      io.moments = buffer(step.moments);
      io.params = places.params;
      io.working = places.working;
      io.next = places.next;
      if (bound.kernel->needs.prepared > 0)
        io.prepared = {prepared + plan_.prepared_offset(step.node)};
    } else {
      BackwardIo& io = bound.backward;
      for (std::size_t k = 0; k < kMaxInputs; ++k) {
        io.x[k] = buffer(step.x[k]);
        io.dx[k] = buffer(step.dx[k]);
      }
      io.dx_write = step.dx_write;
      io.y = buffer(step.y);
      io.dy = buffer(step.dy);
      io.saved = buffer(step.saved);
      io.scratch = buffer(step.scratch);
      io.gradient_sums = buffer(step.gradient_sums);
      io.gradient_factors = buffer(step.gradient_factors);
      io.params = places.params;
      io.working = places.working;
      io.dparams = places.dparams;
    }
    steps_.push_back(std::move(bound));
  }
}

void Binding::forward(const StepContext& ctx, const StepWatch& watch) const {
  run_all(std::span(steps_).first(at(plan_.forward_steps())), ctx, watch);
}

void Binding::backward(const StepContext& ctx, const StepWatch& watch) const {
  run_all(std::span(steps_).subspan(at(plan_.forward_steps())), ctx, watch);
}

void Binding::step(const StepContext& ctx, int i) const {
  run(steps_[at(i)], ctx);
}

Place Binding::buffer(int i) const {
  if (i == kNone) return {};
  return {arena_ + plan_.buffers()[at(i)].offset};
}

Place Binding::input(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().input(name)));
}

Place Binding::output(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().output(name)));
}

Place Binding::gradient(std::string_view output) const {
  return buffer(plan_.gradient_buffer(plan_.graph().output(output)));
}

}  // namespace dfengine
