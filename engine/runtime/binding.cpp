#include "engine/runtime/binding.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

// Null where there is no such list.
void* place(const std::vector<void*>& places, int i) {
  return places.empty() ? nullptr : places[at(i)];
}

}  // namespace

Binding::Binding(const Plan& plan, const ParameterStore& parameters, const ParameterPlaces& places,
                 std::byte* arena, std::byte* prepared)
    : plan_(plan), arena_(arena), prepared_(prepared) {
  bind_nodes(parameters, places);
  bind_steps();
}

void Binding::bind_nodes(const ParameterStore& parameters, const ParameterPlaces& places) {
  const auto& nodes = plan_.graph().nodes();
  nodes_.resize(nodes.size());
  const auto trained = [&](const std::string& name) {
    return std::ranges::any_of(plan_.trained(), [&](const ParamSpec& p) { return p.name == name; });
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    NodeBinding& bound = nodes_[i];
    for (ValueId v : nodes[i].inputs) bound.in.push_back(plan_.specs()[at(v)]);
    for (const ParamSpec& p : nodes[i].layer->params()) {
      const int index = parameters.find(p.name);
      if (index < 0 || parameters.specs()[at(index)].count() != p.count())
        throw Error("executor: no parameter " + p.name + " of that size");
      bound.params.push_back(place(places.values, index));
      bound.working.push_back(place(places.working, index));
      const bool wanted =
          !is_learned(p.role) || (plan_.runs_backward(static_cast<int>(i)) && trained(p.name));
      bound.dparams.push_back(wanted ? place(places.gradients, index) : nullptr);
    }
  }
}

void Binding::bind_steps() {
  for (const Step& step : plan_.steps()) {
    const Node& node = plan_.graph().nodes()[at(step.node)];
    const NodeBinding& bound = nodes_[at(step.node)];
    LayerIo io;
    io.phase = plan_.phase();
    io.in = bound.in;
    io.out = plan_.specs()[at(node.output)];
    for (std::size_t k = 0; k < kMaxInputs; ++k) {
      io.x[k] = buffer(step.x[k]);
      io.dx[k] = buffer(step.dx[k]);
      io.dx_write[k] = step.dx_write[k];
    }
    if (step.norm != kNone) {
      const int maker = plan_.graph().values()[at(node.inputs[0])].producer;
      io.norm = plan_.graph().nodes()[at(maker)].layer->norm_on_load(buffer(step.norm));
    }
    io.y = buffer(step.y);
    io.dy = buffer(step.dy);
    io.saved = buffer(step.saved);
    io.scratch = buffer(step.scratch);
    io.params = bound.params;
    io.working = bound.working;
    io.dparams = bound.dparams;
    io.choices = plan_.layer_plan(step.node).choices;
    if (plan_.layer_plan(step.node).prepared > 0)
      io.prepared = prepared_ + plan_.prepared_offset(step.node);
    steps_.push_back({node.layer.get(), step.kind, io});
  }
}

std::byte* Binding::buffer(int i) const {
  return i == kNone ? nullptr : arena_ + plan_.buffers()[at(i)].offset;
}

void* Binding::input(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().input(name)));
}

void* Binding::output(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().output(name)));
}

}  // namespace dfengine
