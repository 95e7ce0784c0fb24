#include "layers/networks/network.h"

#include <fmt/format.h>

#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "kernels/base/error.h"

namespace dfengine {
void NetworkConfig::validate() const {
  if (!(width > 0 && width <= 4))
    throw UsageError(fmt::format("width multiplier {} is not in (0, 4]", width));
  if (input_size % 32 != 0 || input_size < 96 || input_size > 320)
    throw UsageError(
        fmt::format("input size {} is not a multiple of 32 from 96 to 320", input_size));
  if (stem_stride != 1 && stem_stride != 2)
    throw UsageError(fmt::format("stem stride {} is neither 1 nor 2", stem_stride));
  if (!(bn_eps > 0 && std::isfinite(bn_eps)))
    throw UsageError(fmt::format("batch norm epsilon {} is not positive", bn_eps));
  if (!(bn_momentum > 0 && bn_momentum <= 1))
    throw UsageError(fmt::format("batch norm momentum {} is not in (0, 1]", bn_momentum));
  // Beyond these they are of pixels from 0 to 255.
  constexpr double kLargestMean = 2, kLargestDeviation = 16;
  for (double m : mean)
    if (!(std::abs(m) <= kLargestMean))
      throw UsageError(fmt::format("mean {} is not in [-2, 2]; pixels are counted from 0 to 1", m));
  for (double s : std_dev)
    if (!(s > 0 && s <= kLargestDeviation))
      throw UsageError(fmt::format(
          "standard deviation {} is not in (0, 16]; pixels are counted from 0 to 1", s));
  if (!(dropout >= 0 && dropout < 1))
    throw UsageError(fmt::format("dropout {} is not in [0, 1)", dropout));
  constexpr Index kMostMembers = 16;
  if (members < 1 || members > kMostMembers)
    throw UsageError(fmt::format("an ensemble of {} members: 1 to {}", members, kMostMembers));
  if (members > 1 && head != Head::Detector)
    throw UsageError("the members of an ensemble are detectors");
  if (members > 1 && !quantization.empty())
    throw UsageError("an ensemble of quantized members: quantize is for one network");
  if (head == Head::Classifier && classes < 1) throw UsageError("classes must be at least 1");
  if (head == Head::Detector && hidden < 1) throw UsageError("hidden must be at least 1");
}

Trainable Network::trainable_above(int frozen) const {
  std::unordered_set<std::string> held;
  for (const Node& node : graph.nodes())
    if (node.block >= 0 && node.block < frozen)
      for (const ParamSpec& p : params(node.operation, node.name)) held.insert(p.name);
  return [held = std::move(held)](const ParamSpec& p) { return !held.contains(p.name); };
}
std::function<double(const ParamSpec&)> Network::rates(double decay) const {
  std::unordered_map<std::string, double> of;
  for (const Node& node : graph.nodes())
    for (const ParamSpec& p : params(node.operation, node.name))
      of[p.name] = node.block < 0 ? 1 : std::pow(decay, block_count() - node.block);
  return [of = std::move(of)](const ParamSpec& p) { return of.at(p.name); };
}

Index multiply_adds(const Graph& graph, const Spec& image) {
  const std::vector<Spec> specs = graph.infer(std::span(&image, 1));
  Index sum = 0;
  for (const Node& node : graph.nodes()) {
    const Index outputs = specs[at(node.output)].shape.count();
    if (const auto* conv = std::get_if<Convolution>(&node.operation))
      sum += outputs * conv->weights_per_output();
    if (const auto* quantized = std::get_if<QuantizedConvolution>(&node.operation))
      sum += outputs * quantized->conv.weights_per_output();
    if (const auto* dense = std::get_if<Dense>(&node.operation)) sum += outputs * dense->in;
  }
  return sum;
}

}  // namespace dfengine
