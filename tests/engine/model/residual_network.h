// A network that is not MobileNetV2, in a table of its own: what runs one must run any.
#pragma once

#include "layers/networks/architectures.h"

namespace dfengine::test {

constexpr Index kResidualChannels = 16;

// A stem and two residual blocks of a pointwise and a depthwise convolution, then the pool.
inline ValueId add_residual_base(Graph& graph, const NetworkConfig& config, ValueId images,
                                 std::vector<std::string>& blocks) {
  const auto add = [&](const std::string& name, const Operation& op, std::vector<ValueId> inputs) {
    return graph.add(blocks.back() + name, op, std::move(inputs),
                     static_cast<int>(blocks.size()) - 1);
  };
  const auto convolve = [&](ValueId x, const std::string& name, const Convolution& op) {
    x = add(name, op, {x});
    const BatchNorm norm{.channels = op.out, .eps = config.bn_eps, .momentum = config.bn_momentum};
    x = add(name + ".norm", norm, {x});
    return add(name + ".relu6", Activate{Activation::Relu6}, {x});
  };
  const auto window = [&](Index stride) {
    return Window{.size = 3, .stride = stride, .padding = config.padding};
  };
  constexpr Index c = kResidualChannels;
  ValueId x = graph.add("normalize", ImageNormalize{config.mean, config.std_dev}, {images});
  blocks.push_back("stem");
  x = convolve(x, ".conv", {.in = 3, .out = c, .window = window(2)});
  for (const char* block : {"first", "second"}) {
    blocks.push_back(block);
    ValueId y = convolve(x, ".pointwise", {.in = c, .out = c});
    y = convolve(y, ".depthwise", {.in = c, .out = c, .groups = c, .window = window(1)});
    x = add(".add", Add{}, {y, x});
  }
  return graph.add("pooled", GlobalAveragePool{}, {x});
}

inline constexpr Architecture kResidualTable[] = {
    {.name = "residual", .title = "Residual", .add_base = add_residual_base}};

// For the smallest pictures there are; the graph takes others, too.
inline NetworkConfig residual_config(double dropout = 0) {
  NetworkConfig config;
  config.architecture = "residual";
  config.input_size = 96;
  config.hidden = 8;
  config.dropout = dropout;
  return config;
}

inline Network residual_network(const NetworkConfig& config = residual_config()) {
  return make_network(config, kResidualTable);
}

}  // namespace dfengine::test
