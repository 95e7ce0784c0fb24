#include "engine/plan/passes.h"

#include <algorithm>

namespace dfengine {
namespace {

std::size_t at(ValueId v) {
  return static_cast<std::size_t>(v);
}

// Rebuilds a graph node by node. A node may be replaced, or vanish because an earlier one took over
// its work.
class Rewriter {
 public:
  explicit Rewriter(const Graph& source) : source_(source), counts_(source.consumer_counts()) {
    map_.assign(source.values().size(), kPending);
    for (const Graph::Output& o : source.outputs()) ++counts_[at(o.value)];
    for (ValueId v : source.inputs()) map_[at(v)] = result_.add_input(source.values()[at(v)].name);
  }

  // The only node that reads this value, or -1.
  int sole_consumer(ValueId value) const {
    if (counts_[at(value)] != 1) return -1;
    const auto& nodes = source_.nodes();
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (std::ranges::find(nodes[i].inputs, value) != nodes[i].inputs.end())
        return static_cast<int>(i);
    return -1;
  }

  void emit(LayerPtr layer, const std::vector<ValueId>& inputs, ValueId output) {
    std::vector<ValueId> mapped;
    for (ValueId v : inputs) mapped.push_back(map_[at(v)]);
    map_[at(output)] = result_.add(std::move(layer), std::move(mapped));
  }

  // A value that no longer exists: it was passed inside a fused layer.
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
  std::vector<int> counts_;
  std::vector<ValueId> map_;
  Graph result_;
};

// A chain of nodes being fused into one layer.
struct Chain {
  LayerPtr layer;
  std::vector<ValueId> inputs;
  ValueId output;
  std::vector<ValueId> inner = {};  // values between the links
};

void emit(Rewriter& rewriter, Chain chain) {
  for (ValueId v : chain.inner) rewriter.absorb(v);
  rewriter.emit(std::move(chain.layer), chain.inputs, chain.output);
}

// Extends the chain by its only consumer, if the layer can take that over.
bool extend(const Graph& graph, const Rewriter& rewriter, Chain& chain) {
  const int next = rewriter.sole_consumer(chain.output);
  if (next < 0) return false;
  const Node& node = graph.nodes()[static_cast<std::size_t>(next)];
  LayerPtr fused;
  if (const FoldedNorm* norm = node.layer->norm()) {
    fused = chain.layer->with_norm(*norm);
  } else if (node.layer->activation_only() != Activation::None) {
    fused = chain.layer->with_activation(node.layer->activation_only());
  } else if (node.layer->is_residual_add()) {
    const ValueId skip = node.inputs[0] == chain.output ? node.inputs[1] : node.inputs[0];
    // The skip must exist already, or the fused node would run before its input.
    if (!rewriter.done(skip)) return false;
    fused = chain.layer->with_residual();
    if (fused) chain.inputs.push_back(skip);
  }
  if (!fused) return false;
  chain.layer = std::move(fused);
  chain.inner.push_back(chain.output);
  chain.output = node.output;
  return true;
}

// Every node that reads the value, at least one, reads it as its first input alone and can
// normalise on load.
bool readers_normalise(const Graph& graph, ValueId value) {
  bool any = false;
  for (const Node& node : graph.nodes()) {
    const auto times = std::ranges::count(node.inputs, value);
    if (times == 0) continue;
    if (times > 1 || node.inputs[0] != value || !node.layer->normalises_on_load()) return false;
    any = true;
  }
  return any;
}

bool has_norm(const Chain& chain, const Graph& graph, const Rewriter& rewriter) {
  const int next = rewriter.sole_consumer(chain.output);
  return next >= 0 && graph.nodes()[static_cast<std::size_t>(next)].layer->norm() != nullptr;
}

}  // namespace

std::vector<bool> needs_gradient(const Graph& graph, const Trainable& trainable) {
  std::vector<bool> needs(graph.values().size(), false);
  for (const Node& node : graph.nodes()) {
    const auto params = node.layer->params();
    const bool own = std::ranges::any_of(
        params, [&](const ParamSpec& p) { return is_learned(p.role) && trainable(p); });
    const bool inherited =
        std::ranges::any_of(node.inputs, [&](ValueId v) { return needs[at(v)]; });
    needs[at(node.output)] = own || inherited;
  }
  return needs;
}

Graph fold_inference(const Graph& graph, const std::vector<bool>& keep) {
  Rewriter rewriter(graph);
  for (const Node& node : graph.nodes()) {
    if (rewriter.done(node.output)) continue;
    Chain chain{node.layer, node.inputs, node.output};
    // Only convolutions with a batch norm behind them start a chain.
    if (!keep[at(node.output)] && has_norm(chain, graph, rewriter)) {
      Chain longer = chain;
      while (extend(graph, rewriter, longer) && !keep[at(longer.output)]) chain = longer;
    }
    emit(rewriter, std::move(chain));
  }
  return rewriter.finish();
}

Graph fuse_activations(const Graph& graph) {
  Rewriter rewriter(graph);
  for (const Node& node : graph.nodes()) {
    if (rewriter.done(node.output)) continue;
    Chain chain{node.layer, node.inputs, node.output};
    const int next = rewriter.sole_consumer(node.output);
    if (node.layer->norm() != nullptr && next >= 0 &&
        graph.nodes()[static_cast<std::size_t>(next)].layer->activation_only() != Activation::None)
      extend(graph, rewriter, chain);
    emit(rewriter, std::move(chain));
  }
  return rewriter.finish();
}

Graph freeze_statistics(const Graph& graph, const Trainable& trainable) {
  Rewriter rewriter(graph);
  for (const Node& node : graph.nodes()) {
    LayerPtr layer = node.layer;
    const auto params = layer->params();
    const bool moves = std::ranges::any_of(
        params, [&](const ParamSpec& p) { return is_learned(p.role) && trainable(p); });
    if (!moves) {
      if (LayerPtr frozen = layer->with_frozen_statistics()) layer = std::move(frozen);
    }
    rewriter.emit(std::move(layer), node.inputs, node.output);
  }
  return rewriter.finish();
}

Graph defer_norms(const Graph& graph, const std::vector<bool>& needs) {
  Rewriter rewriter(graph);
  for (const Node& node : graph.nodes()) {
    LayerPtr layer = node.layer;
    const bool is_output = std::ranges::any_of(
        graph.outputs(), [&](const Graph::Output& o) { return o.value == node.output; });
    if (needs[at(node.output)] && !is_output && readers_normalise(graph, node.output)) {
      if (LayerPtr deferred = layer->with_deferred_output()) layer = std::move(deferred);
    }
    rewriter.emit(std::move(layer), node.inputs, node.output);
  }
  return rewriter.finish();
}

}  // namespace dfengine
