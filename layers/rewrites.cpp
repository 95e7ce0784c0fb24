#include "layers/rewrites.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "layers/rewriter.h"

namespace dfengine {
namespace {

// Takes over the only reader of the node's output, where one of the fusions can.
bool take_over_reader(const Rewriter& rewriter, std::span<const Fusion> fusions,
                      const std::vector<bool>& keep, Node& node) {
  const Node* next = rewriter.sole_reader(node.output);
  if (next == nullptr || keep[at(next->output)]) return false;
  for (const Fusion fusion : fusions) {
    std::optional<Operation> fused = fusion(node, *next);
    if (!fused) continue;
    std::vector<ValueId> inputs = node.inputs;
    for (ValueId v : next->inputs) {
      if (v == node.output) continue;
      // It must exist already, or the fused node would run before its input.
      if (!rewriter.done(v)) return false;
      inputs.push_back(v);
    }
    node.operation = *std::move(fused);
    node.inputs = std::move(inputs);
    node.output = next->output;
    return true;
  }
  return false;
}

// The node that makes the value, if the other node alone reads it and nothing keeps it apart.
const Node* sole_producer(const Graph& graph, const std::vector<int>& readers,
                          const std::vector<bool>& keep, ValueId value) {
  const Node* node = graph.producer(value);
  return node != nullptr && readers[at(value)] == 1 && !keep[at(value)] ? node : nullptr;
}

const Convolution* folded_convolution(const Node* node) {
  const auto* conv = node == nullptr ? nullptr : std::get_if<Convolution>(&node->operation);
  return conv != nullptr && conv->norm ? conv : nullptr;
}

// The block that this projection ends. readers: of each value.
std::optional<Alternative> block_before(const Graph& graph, const std::vector<int>& readers,
                                        const std::vector<bool>& keep, const Node& project) {
  const Convolution* last = folded_convolution(&project);
  if (last == nullptr || keep[at(project.output)] || last->groups != 1 || last->window.size != 1 ||
      last->activation != Activation::None)
    return {};
  const Node* depthwise = sole_producer(graph, readers, keep, project.inputs[0]);
  const Convolution* filter = folded_convolution(depthwise);
  if (filter == nullptr || filter->groups == 1 || filter->residual) return {};
  const Node* expand = sole_producer(graph, readers, keep, depthwise->inputs[0]);
  const Convolution* first = folded_convolution(expand);
  if (first == nullptr || first->groups != 1 || first->residual) return {};
  ValueId input = expand->inputs[0];
  if (last->residual && project.inputs[1] != input) return {};
  Alternative choice;
  InvertedResidual block{.expand = {expand->name, *first},
                         .depthwise = {depthwise->name, *filter},
                         .project = {project.name, *last}};
  if (first->window.size > 1) {
    const Node* pixels = sole_producer(graph, readers, keep, input);
    const auto* normalize =
        pixels == nullptr ? nullptr : std::get_if<ImageNormalize>(&pixels->operation);
    if (normalize == nullptr || last->residual) return {};
    block.expand.conv.normalize = *normalize;
    input = pixels->inputs[0];
    choice.plain.push_back(*pixels);
  }
  for (const Node* node : {expand, depthwise, &project}) choice.plain.push_back(*node);
  choice.fused.push_back({.name = expand->name,
                          .operation = block,
                          .inputs = {input},
                          .output = project.output,
                          .block = project.block});
  return choice;
}

}  // namespace

bool moves(const Node& node, const Trainable& trainable) {
  return std::ranges::any_of(params(node.operation, node.name), [&](const ParamSpec& p) {
    return is_learned(p.role) && trainable(p);
  });
}

std::vector<bool> needs_gradient(const Graph& graph, const Trainable& trainable,
                                 std::span<const ValueId> wanted) {
  std::vector<bool> needs(graph.values().size(), false);
  for (ValueId v : wanted) needs[at(v)] = true;
  for (const Node& node : graph.nodes()) {
    const bool inherited =
        std::ranges::any_of(node.inputs, [&](ValueId v) { return needs[at(v)]; });
    if (inherited || moves(node, trainable)) needs[at(node.output)] = true;
  }
  return needs;
}

std::optional<Operation> fold_norm(const Node& first, const Node& second) {
  const Convolution* conv = plain_convolution(first.operation);
  const auto* norm = std::get_if<BatchNorm>(&second.operation);
  if (conv == nullptr || norm == nullptr || norm->activation != Activation::None) return {};
  Convolution fused = *conv;
  fused.norm = {second.name, norm->eps};
  return fused;
}

std::optional<Operation> fold_activation(const Node& first, const Node& second) {
  const auto* conv = std::get_if<Convolution>(&first.operation);
  const auto* activate = std::get_if<Activate>(&second.operation);
  if (conv == nullptr || activate == nullptr || !conv->norm || conv->residual ||
      conv->activation != Activation::None)
    return {};
  Convolution fused = *conv;
  fused.activation = activate->activation;
  return fused;
}

std::optional<Operation> fold_residual(const Node& first, const Node& second) {
  const auto* conv = std::get_if<Convolution>(&first.operation);
  if (conv == nullptr || !std::holds_alternative<Add>(second.operation) || !conv->norm ||
      conv->residual)
    return {};
  Convolution fused = *conv;
  fused.residual = true;
  return fused;
}

std::optional<Operation> fuse_norm_activation(const Node& first, const Node& second) {
  const auto* norm = std::get_if<BatchNorm>(&first.operation);
  const auto* activate = std::get_if<Activate>(&second.operation);
  if (norm == nullptr || activate == nullptr || norm->activation != Activation::None) return {};
  BatchNorm fused = *norm;
  fused.activation = activate->activation;
  return fused;
}

Graph fuse(const Graph& graph, std::span<const Fusion> fusions, const std::vector<bool>& keep) {
  Rewriter rewriter(graph);
  for (const Node& first : graph.nodes()) {
    if (rewriter.done(first.output)) continue;
    Node node = first;
    std::vector<ValueId> inner;
    while (!keep[at(node.output)]) {
      const ValueId before = node.output;
      if (!take_over_reader(rewriter, fusions, keep, node)) break;
      inner.push_back(before);
    }
    for (ValueId v : inner) rewriter.absorb(v);
    rewriter.emit(std::move(node));
  }
  return rewriter.finish();
}

Graph fuse_blocks(const Graph& graph, const std::vector<bool>& keep, const Prefer& prefer) {
  const std::vector<int> readers = graph.reader_counts();
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    const std::optional<Alternative> choice = block_before(graph, readers, keep, node);
    if (!choice || !prefer(*choice)) continue;
    for (const Node& plain : choice->plain) nodes[graph.position(plain.output)].reset();
    nodes[graph.position(node.output)] = choice->fused[0];
  }
  return rebuilt(graph, nodes);
}

Graph load_pixels(const Graph& graph, const Prefer& prefer) {
  const std::vector<int> readers = graph.reader_counts();
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    const auto* normalize = std::get_if<ImageNormalize>(&node.operation);
    const Node* reader = graph.reader(node.output);
    if (normalize == nullptr || reader == nullptr || readers[at(node.output)] != 1) continue;
    Node fused = *reader;
    auto* conv = std::get_if<Convolution>(&fused.operation);
    if (conv == nullptr || conv->residual) continue;
    conv->normalize = *normalize;
    fused.inputs = node.inputs;
    if (!prefer({{node, *reader}, {fused}})) continue;
    nodes[graph.position(node.output)].reset();
    nodes[graph.position(reader->output)] = std::move(fused);
  }
  return rebuilt(graph, nodes);
}

Graph freeze_statistics(const Graph& graph, const Trainable& trainable) {
  Rewriter rewriter(graph);
  for (Node node : graph.nodes()) {
    if (auto* norm = std::get_if<BatchNorm>(&node.operation))
      norm->frozen_statistics = norm->frozen_statistics || !moves(node, trainable);
    rewriter.emit(std::move(node));
  }
  return rewriter.finish();
}

Graph with_element(const Graph& graph, Element element) {
  Rewriter rewriter(graph);
  for (Node node : graph.nodes()) {
    if (auto* normalize = std::get_if<ImageNormalize>(&node.operation))
      normalize->element = element;
    rewriter.emit(std::move(node));
  }
  return rewriter.finish();
}

Graph with_loss(const Graph& graph, const BceLoss& loss_of) {
  Graph result;
  for (ValueId v : graph.inputs()) result.add_input(graph.values()[at(v)].name);
  const ValueId targets = result.add_input("targets");
  // Inputs come first in both, so that every other value moves by one.
  const auto moved = [&](ValueId v) { return v < targets ? v : v + 1; };
  for (Node node : graph.nodes()) {
    for (ValueId& v : node.inputs) v = moved(v);
    result.add(std::move(node.name), std::move(node.operation), std::move(node.inputs), node.block);
  }
  const ValueId logits = moved(graph.output("logits"));
  result.mark_output(logits, "logits");
  const ValueId loss = result.add("loss", loss_of, {logits, targets});
  result.mark_output(loss, "loss");
  return result;
}

Graph up_to(const Graph& graph, const std::string& output) {
  std::vector<bool> wanted(graph.values().size(), false);
  wanted[at(graph.output(output))] = true;
  for (std::size_t i = graph.nodes().size(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    if (wanted[at(node.output)])
      for (ValueId v : node.inputs) wanted[at(v)] = true;
  }
  Graph result;
  std::vector<ValueId> map(graph.values().size(), -1);
  for (ValueId v : graph.inputs())
    if (wanted[at(v)]) map[at(v)] = result.add_input(graph.values()[at(v)].name);
  for (Node node : graph.nodes()) {
    if (!wanted[at(node.output)]) continue;
    for (ValueId& v : node.inputs) v = map[at(v)];
    map[at(node.output)] = result.add(std::move(node.name), std::move(node.operation),
                                      std::move(node.inputs), node.block);
  }
  result.mark_output(map[at(graph.output(output))], output);
  return result;
}

Graph behind(const Graph& graph, const std::string& output) {
  Graph result;
  std::vector<ValueId> map(graph.values().size(), -1);
  map[at(graph.output(output))] = result.add_input(output);
  for (const Node& node : graph.nodes()) {
    std::vector<ValueId> inputs;
    for (ValueId v : node.inputs) inputs.push_back(map[at(v)]);
    const auto known = std::ranges::count_if(inputs, [](ValueId v) { return v >= 0; });
    if (known == 0 || map[at(node.output)] >= 0) continue;
    if (known < std::ssize(inputs))
      throw UsageError("layer " + node.name + ": reads a value that does not follow from " +
                       output);
    map[at(node.output)] = result.add(node.name, node.operation, std::move(inputs), node.block);
  }
  for (const Graph::Output& o : graph.outputs())
    if (o.name != output && map[at(o.value)] >= 0) result.mark_output(map[at(o.value)], o.name);
  return result;
}

}  // namespace dfengine
