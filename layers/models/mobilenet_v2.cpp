#include "layers/models/mobilenet_v2.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "kernels/base/error.h"
#include "layers/batch_norm.h"
#include "layers/depthwise_conv.h"
#include "layers/elementwise.h"
#include "layers/head.h"
#include "layers/pointwise_conv.h"
#include "layers/stem_conv.h"

namespace dfengine {
namespace {

constexpr Index kStemChannels = 32;
constexpr Index kLastChannels = 1280;

// Channels of a part that the paper gives `channels`.
Index scaled(Index channels, double width) {
  return round_channels(static_cast<double>(channels) * width);
}

// Appends blocks under torchvision's names.
class Builder {
 public:
  Builder(Graph& graph, const MobileNetV2Config& config) : graph_(graph), config_(config) {}

  ValueId norm(ValueId x, const std::string& name, Index c, bool relu6) {
    const BatchNormOptions options{config_.bn_eps, config_.bn_momentum};
    x = graph_.add(std::make_shared<BatchNorm>(name, c, options), {x});
    if (!relu6) return x;
    return graph_.add(std::make_shared<ActivationLayer>(name + ".relu6", Activation::Relu6), {x});
  }

  ValueId stem(ValueId x, Index k) {
    const std::string name = "features.0.0";
    x = graph_.add(std::make_shared<StemConv>(name, name + ".weight", k, config_.padding), {x});
    return norm(x, "features.0.1", k, true);
  }

  ValueId pointwise(ValueId x, const std::string& conv, const std::string& bn, Index c, Index k,
                    bool relu6) {
    x = graph_.add(std::make_shared<PointwiseConv>(conv, conv + ".weight", c, k), {x});
    return norm(x, bn, k, relu6);
  }

  ValueId depthwise(ValueId x, const std::string& prefix, Index c, Index stride) {
    const std::string conv = prefix + ".0";
    x = graph_.add(
        std::make_shared<DepthwiseConv>(conv, conv + ".weight", c, stride, config_.padding), {x});
    return norm(x, prefix + ".1", c, true);
  }

  ValueId inverted_residual(ValueId x, int block, Index c, Index k, Index expand, Index stride) {
    const std::string prefix = fmt::format("features.{}.conv.", block);
    const Index wide = c * expand;
    int part = 0;
    ValueId y = x;
    if (expand != 1) {
      const std::string p = prefix + std::to_string(part++);
      y = pointwise(y, p + ".0", p + ".1", c, wide, true);
    }
    y = depthwise(y, prefix + std::to_string(part++), wide, stride);
    const std::string conv = prefix + std::to_string(part);
    y = pointwise(y, conv, prefix + std::to_string(part + 1), wide, k, false);
    if (stride != 1 || c != k) return y;
    return graph_.add(std::make_shared<ResidualAdd>(fmt::format("features.{}.add", block)), {y, x});
  }

 private:
  Graph& graph_;
  const MobileNetV2Config& config_;
};

}  // namespace

void MobileNetV2Config::validate() const {
  if (!(width > 0 && width <= 4))
    throw UsageError(fmt::format("width multiplier {} is not in (0, 4]", width));
  if (input_size % 32 != 0 || input_size < 96 || input_size > 320)
    throw UsageError(
        fmt::format("input size {} is not a multiple of 32 from 96 to 320", input_size));
  if (!(bn_eps > 0 && std::isfinite(bn_eps)))
    throw UsageError(fmt::format("batch norm epsilon {} is not positive", bn_eps));
  if (!(bn_momentum > 0 && bn_momentum <= 1))
    throw UsageError(fmt::format("batch norm momentum {} is not in (0, 1]", bn_momentum));
  for (double m : mean)
    if (!std::isfinite(m)) throw UsageError(fmt::format("mean {} is not a number", m));
  for (double s : std_dev)
    if (!(s > 0 && std::isfinite(s)))
      throw UsageError(fmt::format("standard deviation {} is not positive", s));
  if (!(dropout >= 0 && dropout < 1))
    throw UsageError(fmt::format("dropout {} is not in [0, 1)", dropout));
  if (head == Head::Classifier && classes < 1) throw UsageError("classes must be at least 1");
  if (head == Head::Detector && hidden < 1) throw UsageError("hidden must be at least 1");
}

Index round_channels(double channels) {
  constexpr Index kDivisor = 8;
  const auto rounded = static_cast<Index>(channels + kDivisor / 2.0) / kDivisor * kDivisor;
  const Index result = std::max(kDivisor, rounded);
  return static_cast<double>(result) < 0.9 * channels ? result + kDivisor : result;
}

Index pooled_channels(double width) {
  return round_channels(static_cast<double>(kLastChannels) * std::max(1.0, width));
}

std::vector<WeightChannels> deciding_channels(double width) {
  std::vector<WeightChannels> list = {{"features.0.0.weight", scaled(kStemChannels, width)}};
  Index block = 0;
  for (const MobileNetV2Stage& stage : kMobileNetV2Stages) {
    block += stage.repeats;
    const int projection = stage.expand == 1 ? 1 : 2;  // it stands behind one or two convolutions
    list.push_back({fmt::format("features.{}.conv.{}.weight", block, projection),
                    scaled(stage.channels, width)});
  }
  list.push_back({fmt::format("features.{}.0.weight", block + 1), pooled_channels(width)});
  return list;
}

int feature_block(std::string_view param_name) {
  constexpr std::string_view kPrefix = "features.";
  if (!param_name.starts_with(kPrefix)) return -1;
  param_name.remove_prefix(kPrefix.size());
  int block = -1;
  std::from_chars(param_name.data(), param_name.data() + param_name.size(), block);
  return block;
}

ValueId add_mobilenet_v2_base(Graph& graph, const MobileNetV2Config& config, ValueId images,
                              Element element) {
  Builder build(graph, config);
  ValueId x =
      graph.add(std::make_shared<ImageNormalize>("normalize", config.mean, config.std_dev, element),
                {images});
  Index c = scaled(kStemChannels, config.width);
  x = build.stem(x, c);
  int block = 1;
  for (const MobileNetV2Stage& stage : kMobileNetV2Stages) {
    const Index k = scaled(stage.channels, config.width);
    for (Index i = 0; i < stage.repeats; ++i) {
      x = build.inverted_residual(x, block++, c, k, stage.expand, i == 0 ? stage.stride : 1);
      c = k;
    }
  }
  const std::string last = fmt::format("features.{}", block);
  x = build.pointwise(x, last + ".0", last + ".1", c, pooled_channels(config.width), true);
  return graph.add(std::make_shared<GlobalAveragePool>("pooled"), {x});
}

ValueId add_mobilenet_v2_head(Graph& graph, const MobileNetV2Config& config, ValueId pooled) {
  const Index c = pooled_channels(config.width);
  if (config.head == Head::Classifier)
    return graph.add(std::make_shared<Dense>("classifier.1", c, config.classes, Activation::None),
                     {pooled});
  if (config.head != Head::Detector) throw UsageError("this model has no head");
  ValueId x =
      graph.add(std::make_shared<Dense>("head.fc1", c, config.hidden, Activation::Relu), {pooled});
  if (config.dropout > 0)
    x = graph.add(std::make_shared<Dropout>("head.dropout", config.dropout), {x});
  return graph.add(std::make_shared<Dense>("head.fc2", config.hidden, 1, Activation::None), {x});
}

Graph make_mobilenet_v2(const MobileNetV2Config& config, Element element) {
  Graph graph;
  const ValueId pooled = add_mobilenet_v2_base(graph, config, graph.add_input("images"), element);
  graph.mark_output(pooled, "pooled");
  if (config.head != Head::None)
    graph.mark_output(add_mobilenet_v2_head(graph, config, pooled), "logits");
  return graph;
}

namespace {

void add_head_and_loss(Graph& graph, const MobileNetV2Config& config, ValueId pooled,
                       ValueId targets) {
  const ValueId logits = add_mobilenet_v2_head(graph, config, pooled);
  graph.mark_output(logits, "logits");
  graph.mark_output(graph.add(std::make_shared<BceLoss>("loss"), {logits, targets}), "loss");
}

}  // namespace

Graph make_mobilenet_v2_training(const MobileNetV2Config& config, Element element) {
  Graph graph;
  const ValueId images = graph.add_input("images");
  const ValueId targets = graph.add_input("targets");
  const ValueId pooled = add_mobilenet_v2_base(graph, config, images, element);
  add_head_and_loss(graph, config, pooled, targets);
  return graph;
}

Graph make_head_training(const MobileNetV2Config& config) {
  Graph graph;
  const ValueId pooled = graph.add_input("pooled");
  add_head_and_loss(graph, config, pooled, graph.add_input("targets"));
  return graph;
}

Graph make_head(const MobileNetV2Config& config) {
  Graph graph;
  graph.mark_output(add_mobilenet_v2_head(graph, config, graph.add_input("pooled")), "logits");
  return graph;
}

}  // namespace dfengine
