#include "engine/plan/planned_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>

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

  // The same for a convolution of pixels.
  bool loads_pixels(const Alternative& choice) const {
    return maker_.loads_pixels(std::get<Convolution>(choice.fused[0].operation)) && fused(choice);
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
    const auto* conv = std::get_if<Convolution>(&node.operation);
    const bool has_kernel =
        conv == nullptr || maker_.loads_gradient(*conv, specs_[at(node.inputs[0])]);
    return has_kernel && fused(choice);
  }

  // Only by the clock: the wide half of a block takes fewer bytes and more instructions if it is
  // made twice. left_out gets both times where it is slower.
  bool recomputes(const Alternative& choice, std::vector<std::string>& left_out) const {
    const Node& node = choice.fused[0];
    if (!maker_.recomputes_expansion(std::get<ExpandDepthwise>(node.operation),
                                     specs_[at(node.inputs[0])]))
      return false;
    const std::optional<double> plain = microseconds(handing_on(choice.plain));
    const std::optional<double> fused = microseconds(choice.fused);
    if (!plain || !fused) return false;
    if (*fused >= *plain)
      left_out.push_back(fmt::format("{}, {}: {:.0f} us, stored {:.0f} us", node.name,
                                     kind(node.operation), *fused, *plain));
    return *fused < *plain;
  }

 private:
  // A convolution, its batch norm, a depthwise convolution and its batch norm in the forms that
  // they would take, as far as there are kernels.
  std::vector<Node> handing_on(std::vector<Node> nodes) const {
    auto &expand = std::get<Convolution>(nodes[0].operation),
         &filter = std::get<Convolution>(nodes[2].operation);
    auto& norm = std::get<BatchNorm>(nodes[1].operation);
    const Spec& x = specs_[at(nodes[0].inputs[0])];
    const Spec& wide = specs_[at(nodes[1].inputs[0])];
    norm.output = NormOutput::OnLoad;
    filter.norm_on_load = norm.activation;
    nodes[2].inputs = {nodes[1].inputs[0], nodes[1].output};
    norm.moments_given = expand.makes_moments = maker_.makes_moments(expand, x);
    filter.makes_moments = maker_.makes_moments(filter, wide);
    std::get<BatchNorm>(nodes[3].operation).moments_given = filter.makes_moments;
    norm.gradient_sums_given = filter.makes_gradient_sums =
        maker_.makes_gradient_sums(filter, wide);
    norm.leaves_gradient = expand.gradient_on_load =
        norm.gradient_sums_given && maker_.loads_gradient(expand, x);
    return nodes;
  }

  std::optional<double> microseconds(const std::vector<Node>& nodes) const {
    std::vector<Spec> specs = specs_;
    double sum = 0;
    for (const Node& node : nodes) {
      const std::vector<Spec> in = input_specs(node, specs);
      KernelQuery query{.phase = phase_,
                        .backward = needs_[at(node.output)],
                        .in = in,
                        .out = infer(node.operation, node.name, in),
                        .ends_backward = std::ranges::none_of(
                            node.inputs, [&](ValueId v) { return needs_[at(v)]; })};
      specs[at(node.output)] = query.out;
      if (const auto* norm = std::get_if<BatchNorm>(&node.operation)) {
        if (norm->moments_given)
          query.moments = needs_of(*graph_.producer(node.inputs[0]), nodes, specs).moments;
        if (norm->gradient_sums_given)
          query.gradient_sums = needs_of(*graph_.reader(node.output), nodes, specs).gradient_sums;
      }
      const std::optional<double> us = maker_.microseconds(node, query);
      if (!us) return us;
      sum += *us;
    }
    return sum;
  }

  // Of the convolution beside a batch norm, in the form that it has among `nodes`.
  Needs needs_of(const Node& in_graph, const std::vector<Node>& nodes,
                 const std::vector<Spec>& specs) const {
    const auto same = std::ranges::find(nodes, in_graph.output, &Node::output);
    const Node& node = same == nodes.end() ? in_graph : *same;
    const std::vector<Spec> in = input_specs(node, specs);
    return maker_
        .make(node, {.phase = phase_,
                     .backward = needs_[at(node.output)],
                     .in = in,
                     .out = infer(node.operation, node.name, in)})
        .needs;
  }

  const Graph& graph_;
  std::vector<Spec> specs_;
  Phase phase_;
  const std::vector<bool>& needs_;
  const KernelMaker& maker_;
};

// Layers above the cut take over what their neighbours would have to read again.
void share_training(PlannedGraph& planned, std::span<const Spec> input_specs,
                    const PlanOptions& options,
                    const std::function<std::vector<bool>(const Graph&)>& needs,
                    const KernelMaker& maker) {
  const auto with = [&](const auto& rewrite, const auto& prefers) {
    const std::vector<bool> of_values = needs(planned.graph);
    const Preference preference(planned.graph, input_specs, options.phase, of_values, maker);
    planned.graph = rewrite(planned.graph,
                            [&](const Alternative& choice) { return prefers(preference, choice); });
  };
  // What works on the whole batch at once does not on its slices.
  if (!options.sliced) {
    with(recompute_expansions, [&](const Preference& preference, const Alternative& choice) {
      return preference.recomputes(choice, planned.left_out);
    });
    std::ranges::move(maker.left_out(), std::back_inserter(planned.left_out));
  }
  with([&](const Graph& graph,
           const Prefer& prefer) { return load_norms(graph, needs(graph), prefer); },
       std::mem_fn(&Preference::fused));
  if (options.sliced) return;
  with(hand_on_moments, std::mem_fn(&Preference::hands_on_moments));
  with(hand_on_gradient_sums, std::mem_fn(&Preference::hands_on_gradient_sums));
  with(load_gradients, std::mem_fn(&Preference::loads_gradient));
}

}  // namespace

std::vector<ValueId> values_of(const Graph& graph, const std::vector<std::string>& outputs) {
  std::vector<ValueId> values;
  for (const std::string& name : outputs) values.push_back(graph.output(name));
  return values;
}

PlannedGraph planned_graph(const Graph& graph, std::span<const Spec> input_specs,
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
  const std::vector<bool> with_gradient = needs(result);
  const Preference of_pixels(result, input_specs, options.phase, with_gradient, maker);
  result = load_pixels(result,
                       [&](const Alternative& choice) { return of_pixels.loads_pixels(choice); });
  PlannedGraph planned{std::move(result), {}};
  if (!trains) return planned;
  planned.graph = fuse(planned.graph, kTrainingFusions,
                       std::vector<bool>(planned.graph.values().size(), false));
  if (maker.loads_norms()) share_training(planned, input_specs, options, needs, maker);
  return planned;
}

}  // namespace dfengine
