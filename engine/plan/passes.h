// Graph rewrites that run before a plan is laid out. Each returns a new graph with the same inputs,
// the same outputs and fewer or cheaper nodes.
#pragma once

#include <functional>

#include "layers/graph.h"

namespace dfengine {

// True for parameters that the optimiser moves.
using Trainable = std::function<bool(const ParamSpec&)>;

// Which values need a gradient: those that a trainable parameter feeds. Backward is cut below them.
std::vector<bool> needs_gradient(const Graph& graph, const Trainable& trainable);

// Folds batch norm, activation and residual add into the convolution before them, except where a
// value's `keep` is true: that value and its layer stay as they are.
Graph fold_inference(const Graph& graph, const std::vector<bool>& keep);

// Fuses an activation into the batch norm before it.
Graph fuse_activations(const Graph& graph);

// Batch norms without trainable parameters use their running statistics, as a frozen layer must.
Graph freeze_statistics(const Graph& graph, const Trainable& trainable);

// Batch norms that a gradient passes through leave their result to their readers, where all of
// these can normalise on load. For devices; needs: of this graph, as needs_gradient tells.
Graph defer_norms(const Graph& graph, const std::vector<bool>& needs);

}  // namespace dfengine
