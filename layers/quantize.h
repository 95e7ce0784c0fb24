// From a network's graph to one of 8-bit integers.
#pragma once

#include <map>
#include <string>

#include "layers/graph.h"

namespace dfengine {

// By the name of a convolution: what its result, with all that is folded into it, is quantized as.
using Quantizations = std::map<std::string, Quantization>;

// The graph with batch norms, activations and residuals folded into their convolutions: what is
// quantized, and what a calibration looks at.
Graph folded(const Graph& graph);

// Quantized convolutions in the place of the folded ones. The normalisation before the stem is in
// its weights. Throws UsageError naming what has no quantization, has one for nothing, or cannot
// be quantized.
Graph quantized(const Graph& graph, const Quantizations& outputs);

}  // namespace dfengine
