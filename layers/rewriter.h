// What rewrites of graphs are made with (layers/rewrites.h).
#pragma once

#include <optional>

#include "layers/graph.h"

namespace dfengine {

// Rebuilds a graph node by node. A node may be replaced, or vanish because an earlier one took over
// its work.
class Rewriter {
 public:
  explicit Rewriter(const Graph& source) : source_(source), readers_(source.reader_counts()) {
    map_.assign(source.values().size(), kPending);
    for (ValueId v : source.inputs()) map_[at(v)] = result_.add_input(source.values()[at(v)].name);
  }

  // The only node that reads this value; null where there are others, or where it is an output.
  const Node* sole_reader(ValueId value) const {
    return readers_[at(value)] == 1 ? source_.reader(value) : nullptr;
  }

  // A node whose inputs are numbered as in the source.
  void emit(Node node) {
    for (ValueId& v : node.inputs) v = map_[at(v)];
    map_[at(node.output)] = result_.add(std::move(node.name), std::move(node.operation),
                                        std::move(node.inputs), node.block);
  }

  // A value that no longer exists: it is passed inside a fused node.
  void absorb(ValueId value) { map_[at(value)] = kAbsorbed; }

  // The value was emitted or absorbed already.
  bool done(ValueId output) const { return map_[at(output)] != kPending; }

  Graph finish() {
    for (const Graph::Output& o : source_.outputs()) result_.mark_output(map_[at(o.value)], o.name);
    return std::move(result_);
  }

 private:
  static constexpr ValueId kPending = -1, kAbsorbed = -2;
  const Graph& source_;
  std::vector<int> readers_;
  std::vector<ValueId> map_;
  Graph result_;
};

// What stands in the places of a graph's nodes: these, others or nothing.
using NewNodes = std::vector<std::optional<Node>>;

inline NewNodes new_nodes(const Graph& graph) {
  return NewNodes(graph.nodes().begin(), graph.nodes().end());
}

inline Graph rebuilt(const Graph& graph, const NewNodes& nodes) {
  Rewriter rewriter(graph);
  for (const std::optional<Node>& node : nodes)
    if (node) rewriter.emit(*node);
  return rewriter.finish();
}

// A convolution that nothing was folded into; null: it is another operation.
inline const Convolution* plain_convolution(const Operation& operation) {
  const auto* conv = std::get_if<Convolution>(&operation);
  return conv != nullptr && !conv->inference_form() && !conv->norm_on_load ? conv : nullptr;
}

}  // namespace dfengine
