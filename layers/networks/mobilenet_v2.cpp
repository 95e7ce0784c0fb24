#include "layers/networks/mobilenet_v2.h"

#include <fmt/format.h>

#include <algorithm>

namespace dfengine {
namespace {

constexpr Index kStemChannels = 32, kLastChannels = 1280;

// Appends blocks under torchvision's names.
class Builder {
 public:
  Builder(Graph& graph, const NetworkConfig& config, std::vector<std::string>& blocks)
      : graph_(graph), config_(config), blocks_(blocks) {}

  // "features.K", K the number of blocks so far.
  std::string begin_block() {
    blocks_.push_back(fmt::format("features.{}", blocks_.size()));
    return blocks_.back();
  }

  ValueId add(const std::string& name, const Operation& operation, std::vector<ValueId> inputs) {
    return graph_.add(name, operation, std::move(inputs), static_cast<int>(blocks_.size()) - 1);
  }

  // A convolution, its batch norm and, where wanted, ReLU6.
  ValueId convolution(ValueId x, const std::string& name, const std::string& norm,
                      const Convolution& conv, bool relu6) {
    x = add(name, conv, {x});
    x = add(norm,
            BatchNorm{.channels = conv.out, .eps = config_.bn_eps, .momentum = config_.bn_momentum},
            {x});
    return relu6 ? add(norm + ".relu6", Activate{Activation::Relu6}, {x}) : x;
  }

  Window window(Index stride) const {
    return {.size = 3, .stride = stride, .padding = config_.padding};
  }

  ValueId inverted_residual(ValueId x, Index c, Index k, Index expand, Index stride) {
    const std::string block = begin_block(), prefix = block + ".conv.";
    const Index wide = c * expand;
    int part = 0;
    ValueId y = x;
    if (expand != 1) {
      const std::string p = prefix + std::to_string(part++);
      y = convolution(y, p + ".0", p + ".1", {.in = c, .out = wide}, true);
    }
    const std::string p = prefix + std::to_string(part++);
    y = convolution(y, p + ".0", p + ".1",
                    {.in = wide, .out = wide, .groups = wide, .window = window(stride)}, true);
    y = convolution(y, prefix + std::to_string(part), prefix + std::to_string(part + 1),
                    {.in = wide, .out = k}, false);
    if (stride != 1 || c != k) return y;
    return add(block + ".add", Add{}, {y, x});
  }

 private:
  Graph& graph_;
  const NetworkConfig& config_;
  std::vector<std::string>& blocks_;
};

}  // namespace

Index round_channels(double channels) {
  constexpr Index kDivisor = 8;
  const auto rounded = static_cast<Index>(channels + kDivisor / 2.0) / kDivisor * kDivisor;
  const Index result = std::max(kDivisor, rounded);
  return static_cast<double>(result) < 0.9 * channels ? result + kDivisor : result;
}

Index pooled_channels(double width) {
  return round_channels(static_cast<double>(kLastChannels) * std::max(1.0, width));
}

std::vector<WeightChannels> mobilenet_v2_channels(double width) {
  const auto scaled = [width](Index channels) {
    return round_channels(static_cast<double>(channels) * width);
  };
  std::vector<WeightChannels> list = {{"features.0.0.weight", scaled(kStemChannels)}};
  Index block = 0;
  for (const Stage& stage : kMobileNetV2Stages) {
    block += stage.repeats;
    const int projection = stage.expand == 1 ? 1 : 2;  // it stands behind one or two convolutions
    list.push_back(
        {fmt::format("features.{}.conv.{}.weight", block, projection), scaled(stage.channels)});
  }
  list.push_back({fmt::format("features.{}.0.weight", block + 1), pooled_channels(width)});
  return list;
}

ValueId add_mobilenet_v2_base(Graph& graph, const NetworkConfig& config, ValueId images,
                              std::vector<std::string>& blocks) {
  Builder build(graph, config, blocks);
  ValueId x = graph.add("normalize", ImageNormalize{config.mean, config.std_dev}, {images});
  Index c = round_channels(kStemChannels * config.width);
  const std::string stem = build.begin_block();
  x = build.convolution(x, stem + ".0", stem + ".1",
                        {.in = 3, .out = c, .window = build.window(config.stem_stride)}, true);
  for (const Stage& stage : kMobileNetV2Stages) {
    const Index k = round_channels(static_cast<double>(stage.channels) * config.width);
    for (Index i = 0; i < stage.repeats; ++i) {
      x = build.inverted_residual(x, c, k, stage.expand, i == 0 ? stage.stride : 1);
      c = k;
    }
  }
  const std::string last = build.begin_block();
  x = build.convolution(x, last + ".0", last + ".1",
                        {.in = c, .out = pooled_channels(config.width)}, true);
  return graph.add("pooled", GlobalAveragePool{}, {x});
}

}  // namespace dfengine
