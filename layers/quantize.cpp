#include "layers/quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "layers/rewrites.h"

namespace dfengine {
namespace {

// Takes what it uses out of `outputs`.
QuantizedConvolution quantized(const Node& node, Quantizations& outputs) {
  const auto& conv = std::get<Convolution>(node.operation);
  const auto found = outputs.find(node.name);
  if (!conv.norm || found == outputs.end())
    throw UsageError("layer " + node.name + ": " +
                     (conv.norm ? "the file does not say what its result is quantized as"
                                : "a convolution without a batch norm is not quantized"));
  QuantizedConvolution result{.conv = conv, .output = found->second};
  result.conv.norm.reset();
  outputs.erase(found);
  return result;
}

// The pixel that normalisation makes zero.
std::array<std::uint8_t, 3> zero_pixel(const ImageNormalize& op) {
  std::array<std::uint8_t, 3> pixel = {};
  for (std::size_t c = 0; c < pixel.size(); ++c)
    pixel[c] = static_cast<std::uint8_t>(std::lrint(std::clamp(255 * op.mean[c], 0., 255.)));
  return pixel;
}

}  // namespace

Graph folded(const Graph& graph) {
  return fuse(graph, kInferenceFusions, std::vector<bool>(graph.values().size()));
}

Graph quantized(const Graph& graph, const Quantizations& outputs) {
  Quantizations unused = outputs;
  const Graph source = folded(graph);
  Graph result;
  std::vector<ValueId> map(source.values().size(), -1);
  for (ValueId v : source.inputs()) map[at(v)] = result.add_input(source.values()[at(v)].name);
  const ImageNormalize* normalize = nullptr;
  for (const Node& node : source.nodes()) {
    std::vector<ValueId> inputs;
    for (ValueId v : node.inputs) inputs.push_back(map[at(v)]);
    if (const auto* of_pixels = std::get_if<ImageNormalize>(&node.operation)) {
      normalize = of_pixels;
      map[at(node.output)] = inputs[0];
      continue;
    }
    Operation operation = node.operation;
    if (const auto* conv = std::get_if<Convolution>(&node.operation)) {
      QuantizedConvolution integers = quantized(node, unused);
      if (conv->window.size > 1 && conv->groups == 1 && normalize != nullptr)
        integers.outside = zero_pixel(*normalize);
      operation = integers;
    }
    map[at(node.output)] =
        result.add(node.name, std::move(operation), std::move(inputs), node.block);
  }
  if (!unused.empty())
    throw UsageError("layer " + unused.begin()->first +
                     ": the file says what its result is quantized as, and there is no such layer");
  for (const Graph::Output& o : source.outputs()) result.mark_output(map[at(o.value)], o.name);
  return result;
}

}  // namespace dfengine
