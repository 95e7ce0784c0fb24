#include "engine/plan/planned_graph.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Chooses between forms of a piece of a graph: by the clock where there is one; else the fused one.
class Preference {
 public:
  Preference(const Graph& graph, std::span<const Spec> input_specs, Phase phase,
             const std::vector<bool>& needs, const KernelMaker& maker)
      : graph_(graph),
        specs_(graph.infer(input_specs)),
        phase_(phase),
        needs_(needs),
        maker_(maker) {}

  bool fused(const Alternative& choice) const {
    const std::optional<double> plain = microseconds(choice.plain);
    const std::optional<double> fused = microseconds(choice.fused);
    return !plain || !fused || *fused <= *plain;
  }

  // The same for a block, if there is a kernel for it.
  bool fused_block(const Alternative& choice) const {
    const Node& node = choice.fused[0];
    return maker_.has_block(std::get<InvertedResidual>(node.operation),
                            specs_[at(node.inputs[0])]) &&
           fused(choice);
  }

  // The same for a convolution and the batch norm that it hands moments to.
  bool hands_on_moments(const Alternative& choice) const {
    const Node& node = choice.fused[0];
    return maker_.makes_moments(std::get<Convolution>(node.operation),
                                specs_[at(node.inputs[0])]) &&
           fused(choice);
  }

  // The same for a convolution and the batch norm that it hands its gradient's sums to.
  bool hands_on_gradient_sums(const Alternative& choice) const {
    const Node& node = choice.fused[0];
    return maker_.makes_gradient_sums(std::get<Convolution>(node.operation),
                                      specs_[at(node.inputs[0])]) &&
           fused(choice);
  }

  // The same for a batch norm and the convolution that it leaves its gradient's last step to.
  bool loads_gradient(const Alternative& choice) const {
    const Node& node = choice.fused[1];
    return maker_.loads_gradient(std::get<Convolution>(node.operation),
                                 specs_[at(node.inputs[0])]) &&
           fused(choice);
  }

 private:
  std::optional<double> microseconds(const std::vector<Node>& nodes) const {
    std::vector<Spec> specs = specs_;
    double sum = 0;
    for (const Node& node : nodes) {
      const std::vector<Spec> in = inputs_of(node, specs);
      KernelQuery query{.phase = phase_,
                        .backward = needs_[at(node.output)],
                        .in = in,
                        .out = infer(node.operation, node.name, in)};
      if (const auto* norm = std::get_if<BatchNorm>(&node.operation)) {
        if (norm->moments_given)
          query.moments = needs_of(*graph_.producer(node.inputs[0]), nodes, specs).moments;
        if (norm->gradient_sums_given)
          query.gradient_sums = needs_of(*graph_.reader(node.output), nodes, specs).gradient_sums;
      }
      const std::optional<double> us = maker_.microseconds(node, query);
      if (!us) return us;
      sum += *us;
      specs[at(node.output)] = query.out;
    }
    return sum;
  }

  // Of the convolution beside a batch norm, in the form that it has among `nodes`.
  Needs needs_of(const Node& in_graph, const std::vector<Node>& nodes,
                 const std::vector<Spec>& specs) const {
    const auto same = std::ranges::find(nodes, in_graph.output, &Node::output);
    const Node& node = same == nodes.end() ? in_graph : *same;
    const std::vector<Spec> in = inputs_of(node, specs);
    return maker_
        .make(node, {.phase = phase_,
                     .backward = needs_[at(node.output)],
                     .in = in,
                     .out = infer(node.operation, node.name, in)})
        .needs;
  }

  static std::vector<Spec> inputs_of(const Node& node, const std::vector<Spec>& specs) {
    std::vector<Spec> in;
    for (ValueId v : node.inputs) in.push_back(specs[at(v)]);
    return in;
  }

  const Graph& graph_;
  std::vector<Spec> specs_;
  Phase phase_;
  const std::vector<bool>& needs_;
  const KernelMaker& maker_;
};

}  // namespace

std::vector<ValueId> values_of(const Graph& graph, const std::vector<std::string>& outputs) {
  std::vector<ValueId> values;
  for (const std::string& name : outputs) values.push_back(graph.output(name));
  return values;
}

Graph planned_graph(const Graph& graph, std::span<const Spec> input_specs,
                    const PlanOptions& options, const KernelMaker& maker) {
  const bool trains = options.phase == Phase::Train;
  if (trains && !options.trainable)
    throw UsageError("a training plan needs to know what is trainable");
  if (trains && !options.gradients_of.empty())
    throw UsageError("a training plan gives the gradients of parameters alone");
  const Trainable trainable =
      options.trainable ? options.trainable : [](const ParamSpec&) { return false; };
  const auto needs = [&](const Graph& g) {
    const std::vector<ValueId> wanted = values_of(g, options.gradients_of);
    std::vector<bool> keep = needs_gradient(g, trainable, wanted);
    // What makes a wanted value stands below the cut.
    for (ValueId v : wanted) keep[at(v)] = false;
    return keep;
  };
  Graph result = trains ? freeze_statistics(graph, trainable) : graph;
  result = fuse(result, kInferenceFusions, needs(result));
  // Which blocks pay is told by the number of pictures, and a rank has more slices than another.
  if (!options.sliced) {
    const std::vector<bool> kept = needs(result);
    const Preference of_blocks(result, input_specs, options.phase, kept, maker);
    result = fuse_blocks(result, kept,
                         [&](const Alternative& choice) { return of_blocks.fused_block(choice); });
  }
  if (!trains) return result;
  result = fuse(result, kTrainingFusions, std::vector<bool>(result.values().size(), false));
  if (!maker.loads_norms()) return result;
  const std::vector<bool> gradients = needs(result);
  const Preference of_norms(result, input_specs, options.phase, gradients, maker);
  result = load_norms(result, gradients,
                      [&](const Alternative& choice) { return of_norms.fused(choice); });
  // A convolution makes the moments and sums of all slices at once.
  if (options.sliced) return result;
  const auto with = [&](Graph (*rewrite)(const Graph&, const Prefer&),
                        bool (Preference::*prefers)(const Alternative&) const) {
    const std::vector<bool> of_values = needs(result);
    const Preference preference(result, input_specs, options.phase, of_values, maker);
    return rewrite(result,
                   [&](const Alternative& choice) { return (preference.*prefers)(choice); });
  };
  result = with(hand_on_moments, &Preference::hands_on_moments);
  result = with(hand_on_gradient_sums, &Preference::hands_on_gradient_sums);
  return with(load_gradients, &Preference::loads_gradient);
}

}  // namespace dfengine
