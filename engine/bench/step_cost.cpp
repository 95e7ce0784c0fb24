#include "engine/bench/step_cost.h"

#include <algorithm>
#include <numeric>

namespace dfengine {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

class Costs {
 public:
  explicit Costs(const Plan& plan) : plan_(plan) {}

  StepCost of(const Step& step) const {
    const Node& node = plan_.graph().nodes()[at(step.node)];
    return step.kind == StepKind::Forward ? forward(step, node) : backward(step, node);
  }

 private:
  const Spec& spec(ValueId value) const { return plan_.specs()[at(value)]; }

  StepCost forward(const Step& step, const Node& node) const {
    const LayerPlan& layer = plan_.layer_plan(step.node);
    StepCost cost{parameter_bytes(node) + layer.saved, product_flops(node)};
    if (!layer.defers_output) cost.bytes += spec(node.output).bytes();
    for (ValueId v : node.inputs) cost.bytes += spec(v).bytes();
    return cost;
  }

  StepCost backward(const Step& step, const Node& node) const {
    const LayerPlan& layer = plan_.layer_plan(step.node);
    StepCost cost;
    bool moves_dy = !node.layer->is_residual_add();
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      // A residual add's gradient is dy itself: where it may stay in place, nothing moves.
      const bool stays = node.layer->is_residual_add() && step.dx[k] == step.dy &&
                         step.dx_write[k] == Write::Overwrite;
      if (step.dx[k] == kNone || stays) continue;
      moves_dy = true;
      const Index times = step.dx_write[k] == Write::Accumulate ? 2 : 1;
      cost.bytes += times * spec(node.inputs[k]).bytes();
      cost.flops += product_flops(node);
    }
    if (moves_dy && !layer.starts_backward) cost.bytes += spec(node.output).bytes();
    if (layer.backward_needs_input || layer.starts_backward)
      for (ValueId v : node.inputs) cost.bytes += spec(v).bytes();
    if (layer.backward_needs_output) cost.bytes += spec(node.output).bytes();
    cost.bytes += layer.saved + parameter_bytes(node);
    for (const ParamSpec& p : node.layer->params()) {
      if (!is_trained(p)) continue;
      cost.bytes += p.count() * static_cast<Index>(sizeof(float));
      if (p.role == Role::Weight) cost.flops += product_flops(node);
    }
    return cost;
  }

  bool is_trained(const ParamSpec& p) const {
    return std::ranges::any_of(plan_.trained(),
                               [&](const ParamSpec& t) { return t.name == p.name; });
  }

  // Weights in the element of the output, the rest in float, without a packing's padding.
  Index parameter_bytes(const Node& node) const {
    Index bytes = 0;
    for (const ParamSpec& p : node.layer->params())
      bytes += p.count() * (p.role == Role::Weight ? element_size(spec(node.output).element)
                                                   : static_cast<Index>(sizeof(float)));
    return bytes;
  }

  // Every output element is a sum over the weight [K, ...] of one output channel.
  Index product_flops(const Node& node) const {
    Index flops = 0;
    for (const ParamSpec& p : node.layer->params())
      if (p.role == Role::Weight)
        flops += 2 * spec(node.output).shape.count() * (p.count() / p.file_shape.front());
    return flops;
  }

  const Plan& plan_;
};

}  // namespace

std::vector<StepCost> step_costs(const Plan& plan) {
  const Costs costs(plan);
  std::vector<StepCost> all;
  for (const Step& step : plan.steps()) all.push_back(costs.of(step));
  return all;
}

StepCost total_cost(const Plan& plan) {
  const std::vector<StepCost> all = step_costs(plan);
  return std::accumulate(all.begin(), all.end(), StepCost{});
}

}  // namespace dfengine
