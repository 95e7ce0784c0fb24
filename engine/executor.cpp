#include "engine/executor.h"

#include <algorithm>

#include "kernels/error.h"

namespace dfengine {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

}  // namespace

Executor::Executor(const Plan& plan, ParameterStore& parameters, std::byte* gradients,
                   const Memory& arena)
    : plan_(plan), parameters_(parameters), arena_(arena), prepared_(plan.prepared_bytes()) {
  if (arena.bytes() < plan.arena_bytes()) throw Error("executor: the arena is too small");
  if (!plan.trained().empty() && gradients == nullptr)
    throw Error("executor: a training plan needs memory for gradients");
  bind_nodes(gradients);
  bind_steps();
}

void Executor::bind_nodes(std::byte* gradients) {
  const auto& nodes = plan_.graph().nodes();
  nodes_.resize(nodes.size());
  const auto trained = [&](const std::string& name) {
    return std::ranges::any_of(plan_.trained(), [&](const ParamSpec& p) { return p.name == name; });
  };
  const Index size = element_size(parameters_.element());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (ValueId v : nodes[i].inputs) nodes_[i].in.push_back(plan_.specs()[at(v)]);
    for (const ParamSpec& p : nodes[i].layer->params()) {
      if (parameters_.element() != plan_.specs()[at(nodes[i].output)].element)
        throw Error("executor: layer " + nodes[i].layer->name() +
                    " and its parameters differ in element type");
      const int index = parameters_.find(p.name);
      if (index < 0 || parameters_.specs()[at(index)].count() != p.count())
        throw Error("executor: no parameter " + p.name + " of that size");
      nodes_[i].params.push_back(parameters_.value(index));
      const bool wanted = plan_.runs_backward(static_cast<int>(i)) && trained(p.name);
      nodes_[i].dparams.push_back(wanted ? gradients + parameters_.offset(index) * size : nullptr);
    }
  }
}

void Executor::bind_steps() {
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
    io.y = buffer(step.y);
    io.dy = buffer(step.dy);
    io.saved = buffer(step.saved);
    io.scratch = buffer(step.scratch);
    io.params = bound.params;
    io.dparams = bound.dparams;
    if (plan_.layer_plan(step.node).prepared > 0)
      io.prepared = prepared_.data() + plan_.prepared_offset(step.node);
    steps_.push_back({node.layer.get(), step.kind, io});
  }
}

std::byte* Executor::buffer(int i) const {
  return i == kNone ? nullptr : arena_.data() + plan_.buffers()[at(i)].offset;
}

void Executor::prepare() {
  const auto& nodes = plan_.graph().nodes();
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (plan_.layer_plan(static_cast<int>(i)).prepared == 0) continue;
    nodes[i].layer->prepare(parameters_.element(), nodes_[i].params,
                            prepared_.data() + plan_.prepared_offset(static_cast<int>(i)));
  }
}

void Executor::run(const LayerContext& ctx, int first, int last) const {
  for (int i = first; i < last; ++i) {
    const BoundStep& step = steps_[at(i)];
    if (step.kind == StepKind::Forward) {
      step.layer->forward(ctx, step.io);
    } else {
      step.layer->backward(ctx, step.io);
    }
  }
}

void* Executor::input(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().input(name)));
}

const void* Executor::output(std::string_view name) const {
  return buffer(plan_.value_buffer(plan_.graph().output(name)));
}

}  // namespace dfengine
