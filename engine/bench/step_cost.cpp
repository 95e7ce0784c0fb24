#include "engine/bench/step_cost.h"

#include <algorithm>
#include <numeric>

namespace dfengine {
namespace {

class Costs {
 public:
  explicit Costs(const Plan& plan) : plan_(plan) {}

  StepCost of(const Step& step) const {
    const Node& node = plan_.node(step.node);
    return step.kind == StepKind::Backward ? backward(step, node) : forward(step, node);
  }

 private:
  const Spec& spec(ValueId value) const { return plan_.spec(value); }

  StepCost forward(const Step& step, const Node& node) const {
    const Needs& needs = plan_.kernel(step.node).needs;
    StepCost cost{parameter_bytes(node) + needs.saved + spec(node.output).bytes(),
                  product_flops(node)};
    cost.bytes += handed_on(step.moments);
    int passes = 1;
    if (const auto* norm = std::get_if<BatchNorm>(&node.operation)) {
      const bool makes_statistics = of_batch(*norm) && !norm->moments_given;
      const bool stores = norm->output == NormOutput::Values;
      passes = (makes_statistics ? 1 : 0) + (stores ? 1 : 0);
    }
    if (is_recomputed(node)) passes = 2;  // one for the statistics
    for (ValueId v : node.inputs) cost.bytes += passes * spec(v).bytes();
    return cost;
  }

  StepCost backward(const Step& step, const Node& node) const {
    const Needs& needs = plan_.kernel(step.node).needs;
    StepCost cost{.bytes = handed_on(step.gradient_sums) + handed_on(step.gradient_factors)};
    const auto* norm = std::get_if<BatchNorm>(&node.operation);
    const bool leaves_rest = norm != nullptr && norm->leaves_gradient;
    const bool makes_sums = norm != nullptr && of_batch(*norm) && !norm->gradient_sums_given;
    // Over x and dy.
    const int passes = (makes_sums ? 1 : 0) + (leaves_rest ? 0 : 1);
    const bool is_add = std::holds_alternative<Add>(node.operation);
    bool moves_dy = !is_add && !leaves_rest;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      // A residual add's gradient is dy itself: where it may stay in place, nothing moves.
      const bool stays = is_add && step.dx[k] == step.dy && step.dx_write[k] == Write::Overwrite;
      if (step.dx[k] == kNone || stays || leaves_rest) continue;
      moves_dy = true;
      const Index times = step.dx_write[k] == Write::Accumulate ? 2 : 1;
      cost.bytes += times * plan_.gradient_spec(node.inputs[k]).bytes();
      cost.flops += product_flops(node);
    }
    if (moves_dy && !needs.starts_backward)
      cost.bytes += passes * plan_.gradient_spec(node.output).bytes();
    if (needs.backward_needs_input || needs.starts_backward)
      for (ValueId v : node.inputs) cost.bytes += passes * spec(v).bytes();
    if (needs.backward_needs_output) cost.bytes += spec(node.output).bytes();
    cost.bytes += needs.saved + parameter_bytes(node);
    for (const ParamSpec& p : params(node.operation, node.name)) {
      if (!is_trained(p)) continue;
      cost.bytes += p.count() * static_cast<Index>(sizeof(float));
      if (p.role == Role::Weight && !is_recomputed(node)) cost.flops += product_flops(node);
    }
    if (is_recomputed(node)) add_recomputation(step, node, cost);
    return cost;
  }

  static bool is_recomputed(const Node& node) {
    return std::holds_alternative<ExpandDepthwise>(node.operation);
  }

  // Both weights' gradients, the expansion once more, and what the data gradient needs beside one
  // pass: its first part is written and read, and the input read again.
  void add_recomputation(const Step& step, const Node& node, StepCost& cost) const {
    const auto& op = std::get<ExpandDepthwise>(node.operation);
    cost.flops += product_flops(node) + product_flops(op.expand.conv, wide_shape(op, node));
    if (step.dx[0] != kNone) cost.bytes += 3 * spec(node.inputs[0]).bytes();
  }
  Shape wide_shape(const ExpandDepthwise& op, const Node& node) const {
    const Convolution& expand = op.expand.conv;
    const Shape& x = spec(node.inputs[0]).shape;
    return {x.n, window_axis(x.h, expand.window).out, window_axis(x.w, expand.window).out,
            expand.out};
  }

  // Moments, sums or factors that a step makes, or is given.
  Index handed_on(int buffer) const {
    return buffer == kNone ? 0 : plan_.buffers()[at(buffer)].bytes;
  }

  bool of_batch(const BatchNorm& norm) const {
    return plan_.phase() == Phase::Train && !norm.frozen_statistics;
  }

  bool is_trained(const ParamSpec& p) const {
    return std::ranges::any_of(plan_.trained(),
                               [&](const ParamSpec& t) { return t.name == p.name; });
  }

  // Weights in the element of the output, the rest in float, without a packing's padding.
  Index parameter_bytes(const Node& node) const {
    Index bytes = 0;
    for (const ParamSpec& p : params(node.operation, node.name))
      bytes += p.count() * (p.role == Role::Weight ? element_size(spec(node.output).element)
                                                   : static_cast<Index>(sizeof(float)));
    return bytes;
  }

  Index product_flops(const Node& node) const {
    const Shape& y = spec(node.output).shape;
    return std::visit(
        Overload{[&](const Convolution& op) { return product_flops(op, y); },
                 [&](const QuantizedConvolution& op) { return product_flops(op.conv, y); },
                 [&](const InvertedResidual& op) { return product_flops(op, node); },
                 [&](const Dense& op) { return 2 * y.count() * op.in; },
                 [](const ImageNormalize&) { return Index{0}; },
                 [](const BatchNorm&) { return Index{0}; },
                 [&](const ExpandDepthwise& op) {
                   return product_flops(op.expand.conv, wide_shape(op, node)) +
                          product_flops(op.depthwise.conv, y);
                 },
                 [](const Activate&) { return Index{0}; }, [](const Add&) { return Index{0}; },
                 [](const Dropout&) { return Index{0}; },
                 [](const GlobalAveragePool&) { return Index{0}; },
                 [](const BceLoss&) { return Index{0}; }},
        node.operation);
  }

  static Index product_flops(const Convolution& op, const Shape& y) {
    return 2 * y.count() * op.weights_per_output();
  }

  // Without what is computed twice at the rims of tiles.
  Index product_flops(const InvertedResidual& op, const Node& node) const {
    Shape shape = spec(node.inputs[0]).shape;
    Index flops = 0;
    for (const auto* part : {&op.expand, &op.depthwise, &op.project}) {
      const Window& window = part->conv.window;
      shape = {shape.n, window_axis(shape.h, window).out, window_axis(shape.w, window).out,
               part->conv.out};
      flops += product_flops(part->conv, shape);
    }
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
