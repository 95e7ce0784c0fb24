// What convolutions take over from batch norms that a gradient passes through.
#include <algorithm>

#include "layers/rewriter.h"
#include "layers/rewrites.h"

namespace dfengine {
namespace {

// The nodes that read a batch norm's result, if all of them can compute it as they load it: each is
// a convolution, which has no other input, with such a kernel.
std::vector<const Node*> loading_readers(const Graph& graph, ValueId value) {
  std::vector<const Node*> readers;
  for (const Node& node : graph.nodes()) {
    if (std::ranges::find(node.inputs, value) == node.inputs.end()) continue;
    const Convolution* conv = plain_convolution(node.operation);
    const bool has_kernel = conv != nullptr && (conv->groups > 1 || conv->window.size == 1);
    if (!has_kernel) return {};
    readers.push_back(&node);
  }
  return readers;
}

// The batch norm writes scale and shift; its readers read its input, and these.
Alternative norm_on_load(const Node& norm, const std::vector<const Node*>& readers) {
  const auto& op = std::get<BatchNorm>(norm.operation);
  Alternative choice{{norm}, {norm}};
  std::get<BatchNorm>(choice.fused[0].operation).output = NormOutput::OnLoad;
  for (const Node* reader : readers) {
    choice.plain.push_back(*reader);
    Node fused = *reader;
    std::get<Convolution>(fused.operation).norm_on_load = op.activation;
    fused.inputs = {norm.inputs[0], norm.output};
    choice.fused.push_back(std::move(fused));
  }
  return choice;
}

// Puts fused nodes in the places of those with the same outputs.
void take(const std::vector<Node>& fused, const Graph& graph, NewNodes& nodes) {
  for (const Node& node : fused) nodes[graph.position(node.output)] = node;
}

// The wide half of a block whose depthwise convolution this node is, with the batch norm behind it;
// nothing: there is none, or something else needs its values. readers: of each value.
std::optional<Alternative> wide_half(const Graph& graph, const std::vector<int>& readers,
                                     const Node& depthwise) {
  const auto producer = [&](ValueId value) {
    return readers[at(value)] == 1 ? graph.producer(value) : nullptr;
  };
  const auto norm_of = [](const Node* node) -> const BatchNorm* {
    const auto* norm = node == nullptr ? nullptr : std::get_if<BatchNorm>(&node->operation);
    return norm == nullptr || norm->frozen_statistics ? nullptr : norm;
  };
  const Convolution* filter = plain_convolution(depthwise.operation);
  if (filter == nullptr || filter->groups == 1 || readers[at(depthwise.output)] != 1) return {};
  const Node *norm = producer(depthwise.inputs[0]), *behind = graph.reader(depthwise.output);
  if (norm_of(norm) == nullptr || norm_of(behind) == nullptr) return {};
  const Node* expand = producer(norm->inputs[0]);
  const Convolution* first = expand == nullptr ? nullptr : plain_convolution(expand->operation);
  if (first == nullptr || first->groups > 1 || (first->window.size > 1 && !first->normalize))
    return {};
  ExpandDepthwise wide{.expand = {expand->name, *first},
                       .norm_name = norm->name,
                       .norm = *norm_of(norm),
                       .depthwise = {depthwise.name, *filter}};
  wide.depthwise.conv.makes_moments = true;
  Alternative choice{{*expand, *norm, depthwise, *behind}, {depthwise, *behind}};
  choice.fused[0].operation = wide;
  choice.fused[0].inputs = expand->inputs;
  std::get<BatchNorm>(choice.fused[1].operation).moments_given = true;
  return choice;
}

}  // namespace

Graph recompute_expansions(const Graph& graph, const Prefer& prefer) {
  const std::vector<int> readers = graph.reader_counts();
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    const std::optional<Alternative> choice = wide_half(graph, readers, node);
    if (!choice || !prefer(*choice)) continue;
    for (const Node& plain : std::span(choice->plain).first(2))
      nodes[graph.position(plain.output)].reset();
    take(choice->fused, graph, nodes);
  }
  return rebuilt(graph, nodes);
}

Graph load_norms(const Graph& graph, const std::vector<bool>& needs, const Prefer& prefer) {
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    if (!std::holds_alternative<BatchNorm>(node.operation) || !needs[at(node.output)]) continue;
    const bool is_output = std::ranges::any_of(
        graph.outputs(), [&](const Graph::Output& o) { return o.value == node.output; });
    const std::vector<const Node*> readers = loading_readers(graph, node.output);
    if (is_output || readers.empty()) continue;
    const Alternative choice = norm_on_load(node, readers);
    if (!prefer(choice)) continue;
    take(choice.fused, graph, nodes);
  }
  return rebuilt(graph, nodes);
}

Graph hand_on_moments(const Graph& graph, const Prefer& prefer) {
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    const auto* norm = std::get_if<BatchNorm>(&node.operation);
    if (norm == nullptr || norm->frozen_statistics) continue;
    const Node* maker = graph.producer(node.inputs[0]);
    const auto* conv = maker == nullptr ? nullptr : std::get_if<Convolution>(&maker->operation);
    if (conv == nullptr || conv->inference_form()) continue;
    const Node& before = *nodes[graph.position(maker->output)];
    // One batch norm takes them, and others that read the same value make their own.
    if (std::get<Convolution>(before.operation).makes_moments) continue;
    Alternative choice{{*maker, node}, {*maker, node}};
    std::get<Convolution>(choice.fused[0].operation).makes_moments = true;
    std::get<BatchNorm>(choice.fused[1].operation).moments_given = true;
    if (!prefer(choice)) continue;
    take(choice.fused, graph, nodes);
  }
  return rebuilt(graph, nodes);
}

Graph hand_on_gradient_sums(const Graph& graph, const Prefer& prefer) {
  const std::vector<int> readers = graph.reader_counts();
  NewNodes nodes = new_nodes(graph);
  for (const Node& reader : graph.nodes()) {
    const auto* conv = std::get_if<Convolution>(&reader.operation);
    if (conv == nullptr || !conv->norm_on_load || readers[at(reader.inputs[1])] != 1) continue;
    const Node& norm = *graph.producer(reader.inputs[1]);
    if (std::get<BatchNorm>(norm.operation).frozen_statistics) continue;
    // The sums are made first.
    Alternative choice{{reader, norm}, {reader, norm}};
    std::get<Convolution>(choice.fused[0].operation).makes_gradient_sums = true;
    std::get<BatchNorm>(choice.fused[1].operation).gradient_sums_given = true;
    if (!prefer(choice)) continue;
    take(choice.fused, graph, nodes);
  }
  return rebuilt(graph, nodes);
}

Graph load_gradients(const Graph& graph, const Prefer& prefer) {
  NewNodes nodes = new_nodes(graph);
  for (const Node& node : graph.nodes()) {
    const auto* norm = std::get_if<BatchNorm>(&node.operation);
    if (norm == nullptr || !norm->gradient_sums_given) continue;
    const Node* maker = graph.producer(node.inputs[0]);
    const Convolution* conv = maker == nullptr ? nullptr : last_convolution(maker->operation);
    if (conv == nullptr || conv->inference_form()) continue;
    const Node& before = *nodes[graph.position(maker->output)];
    Alternative choice{{node, before}, {node, before}};
    std::get<BatchNorm>(choice.fused[0].operation).leaves_gradient = true;
    last_convolution(choice.fused[1].operation)->gradient_on_load = true;
    if (!prefer(choice)) continue;
    take(choice.fused, graph, nodes);
  }
  return rebuilt(graph, nodes);
}

}  // namespace dfengine
