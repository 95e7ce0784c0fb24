#include "engine/runtime/executor.h"

#include "kernels/base/error.h"

namespace dfengine {
namespace {

void check(const Plan& plan, const ParameterStore& parameters, const std::byte* gradients,
           const Memory& arena) {
  if (arena.bytes() < plan.arena_bytes()) throw Error("executor: the arena is too small");
  if (!plan.trained().empty() && gradients == nullptr)
    throw Error("executor: a training plan needs memory for gradients");
  for (const Node& node : plan.graph().nodes())
    if (!node.layer->params().empty() &&
        parameters.element() != plan.specs()[static_cast<std::size_t>(node.output)].element)
      throw Error("executor: layer " + node.layer->name() +
                  " and its parameters differ in element type");
}

ParameterPlaces places(ParameterStore& parameters, std::byte* gradients) {
  ParameterPlaces all;
  for (int i = 0; i < static_cast<int>(parameters.specs().size()); ++i) {
    const bool learned = is_learned(parameters.specs()[static_cast<std::size_t>(i)].role);
    const Index offset = parameters.offset(i) * element_size(parameters.element());
    all.values.push_back(parameters.value(i));
    all.gradients.push_back(learned && gradients != nullptr ? gradients + offset : nullptr);
  }
  return all;
}

}  // namespace

Executor::Executor(const Plan& plan, ParameterStore& parameters, std::byte* gradients,
                   const Memory& arena)
    : plan_((check(plan, parameters, gradients, arena), plan)),
      element_(parameters.element()),
      prepared_(plan.prepared_bytes()),
      binding_(plan, parameters, places(parameters, gradients), arena.data(), prepared_.data()) {}

void Executor::prepare() {
  for (int i = 0; i < plan_.forward_steps(); ++i) {
    if (plan_.layer_plan(i).prepared == 0) continue;
    plan_.graph().nodes()[static_cast<std::size_t>(i)].layer->prepare(
        element_, binding_.params(i), prepared_.data() + plan_.prepared_offset(i));
  }
}

void Executor::run(const LayerContext& ctx, int first, int last, const StepWatch& watch) const {
  for (int i = first; i < last; ++i) {
    const BoundStep& step = binding_.steps()[static_cast<std::size_t>(i)];
    if (step.kind == StepKind::Forward) {
      step.layer->forward(ctx, step.io);
    } else {
      step.layer->backward(ctx, step.io);
    }
    if (watch) watch(step);
  }
}

}  // namespace dfengine
