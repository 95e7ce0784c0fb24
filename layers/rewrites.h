// Rewrites of graphs, one function each: the same inputs and outputs, fewer or cheaper nodes.
#pragma once

#include <functional>

#include "layers/graph.h"

namespace dfengine {

// True for parameters that the optimiser moves.
using Trainable = std::function<bool(const ParamSpec&)>;
// The node has such a parameter: its running statistics, if any, then move as well.
bool moves(const Node& node, const Trainable& trainable);

// Which values need a gradient: those that a trainable parameter or a value of `wanted` feeds, and
// these themselves. Backward is cut below them.
std::vector<bool> needs_gradient(const Graph& graph, const Trainable& trainable,
                                 std::span<const ValueId> wanted = {});

// ---- Fusions ------------------------------------------------------------------------------------

// How two nodes, the second the only reader of the first, become one operation. Inputs that the
// second has beside the first's output follow the first's inputs. Nothing: they do not.
using Fusion = std::optional<Operation> (*)(const Node& first, const Node& second);

// A batch norm into the weights of the convolution before it.
std::optional<Operation> fold_norm(const Node& first, const Node& second);
// An activation or a residual add behind a convolution in inference form.
std::optional<Operation> fold_activation(const Node& first, const Node& second);
std::optional<Operation> fold_residual(const Node& first, const Node& second);
// An activation behind a batch norm.
std::optional<Operation> fuse_norm_activation(const Node& first, const Node& second);

// Those of inference, and those of layers that a gradient passes through.
inline constexpr Fusion kInferenceFusions[] = {fold_norm, fold_activation, fold_residual};
inline constexpr Fusion kTrainingFusions[] = {fuse_norm_activation};

// Applies the fusions wherever they fit, again and again, except to nodes whose output is in
// `keep`.
Graph fuse(const Graph& graph, std::span<const Fusion> fusions, const std::vector<bool>& keep);

// One place where a fusion may be taken: the nodes there are, and those in their place. Both name
// values by their numbers in the graph.
struct Alternative {
  std::vector<Node> plain, fused;
};
using Prefer = std::function<bool(const Alternative&)>;

// Expansions that are not stored: the wide half of an inverted residual that a gradient passes
// through becomes one operation, which makes its wide values again in backward, where `prefer` says
// so. It hands the moments of its result on.
Graph recompute_expansions(const Graph& graph, const Prefer& prefer);

// Norm on load: batch norms that a gradient passes through leave their result to the convolutions
// that read it, where all of their readers can and `prefer` says so. needs: of this graph, as
// needs_gradient tells.
Graph load_norms(const Graph& graph, const std::vector<bool>& needs, const Prefer& prefer);

// Moments in epilogues: convolutions make the moments of their results for the batch norms with
// batch statistics that read them, where `prefer` says so.
Graph hand_on_moments(const Graph& graph, const Prefer& prefer);

// Gradients' sums in epilogues: a convolution that alone takes a batch norm with batch statistics
// as it loads makes the sums of its gradient too, where `prefer` says so.
Graph hand_on_gradient_sums(const Graph& graph, const Prefer& prefer);

// Gradients on load: such a batch norm leaves the last step of its gradient to the convolution that
// makes its input, where `prefer` says so.
Graph load_gradients(const Graph& graph, const Prefer& prefer);

// Pixels on load: stems that alone read normalised pixels normalise them, where `prefer` says so.
Graph load_pixels(const Graph& graph, const Prefer& prefer);

// Inverted residual blocks in inference form, where `prefer` says so, become one operation. A block
// with a value in `keep` inside stays as it is.
Graph fuse_blocks(const Graph& graph, const std::vector<bool>& keep, const Prefer& prefer);

// ---- Others -------------------------------------------------------------------------------------

// Batch norms without trainable parameters use their running statistics, as a frozen layer must.
Graph freeze_statistics(const Graph& graph, const Trainable& trainable);

// Activations in this element.
Graph with_element(const Graph& graph, Element element);

// The network and its loss: a further input "targets"; the outputs are "logits" and "loss".
Graph with_loss(const Graph& graph, const BceLoss& loss = {});

// What an output is made from, and that output alone.
Graph up_to(const Graph& graph, const std::string& output);

// What stands behind an output, which becomes the input of the same name. Other outputs that do not
// depend on it are gone.
Graph behind(const Graph& graph, const std::string& output);

}  // namespace dfengine
