// MobileNetV2 (Sandler et al. 2018) with torchvision's layer and tensor names, and its heads.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "kernels/base/enum_names.h"
#include "layers/graph.h"

namespace dfengine {

// Detector: dense 128 + ReLU, dropout, dense 1: one logit, positive = fake.
// Classifier: torchvision's ImageNet head, one dense layer.
// None: features only.
enum class Head { None, Detector, Classifier };
template <>
inline constexpr auto enum_names<Head> = names_for<Head>(
    "head", {{"none", Head::None}, {"detector", Head::Detector}, {"classifier", Head::Classifier}});

struct MobileNetV2Config {
  double width = 1.0;      // width multiplier
  Index input_size = 224;  // multiple of 32, 96 to 320
  Padding padding = Padding::Torch;
  double bn_eps = 1e-5;
  double bn_momentum = 0.1;
  std::array<double, 3> mean = {0.485, 0.456, 0.406};  // of pixels / 255
  std::array<double, 3> std_dev = {0.229, 0.224, 0.225};
  Head head = Head::Detector;
  Index hidden = 128;    // detector: width of the first dense layer
  Index classes = 1000;  // classifier: number of classes
  double dropout = 0.2;

  // Throws UsageError naming the field that is out of range.
  void validate() const;
};

// Blocks of the same width, a row of Table 2 of the paper.
struct MobileNetV2Stage {
  Index expand, channels, repeats;
  Index stride;  // of the first block; the others have stride 1
};
inline constexpr MobileNetV2Stage kMobileNetV2Stages[] = {
    {.expand = 1, .channels = 16, .repeats = 1, .stride = 1},
    {.expand = 6, .channels = 24, .repeats = 2, .stride = 2},
    {.expand = 6, .channels = 32, .repeats = 3, .stride = 2},
    {.expand = 6, .channels = 64, .repeats = 4, .stride = 2},
    {.expand = 6, .channels = 96, .repeats = 3, .stride = 1},
    {.expand = 6, .channels = 160, .repeats = 3, .stride = 2},
    {.expand = 6, .channels = 320, .repeats = 1, .stride = 1}};

// Channels rounded as the paper's code does: to a multiple of 8, never below 90 % of the value.
Index round_channels(double channels);
// Channels of the pooled features: 1280, more for widths above 1.
Index pooled_channels(double width);
// The weights that decide all shapes of the base: of the stem, of each stage's last projection and
// of the last convolution, each with the channels that it gives at this width.
struct WeightChannels {
  std::string weight;
  Index channels;
};
std::vector<WeightChannels> deciding_channels(double width);
// Number of blocks features.0 ... features.18 that `--freeze K` counts.
inline constexpr int kFeatureBlocks = 19;
// The block a parameter belongs to ("features.7.conv.0.0.weight" -> 7), or -1 for head parameters.
int feature_block(std::string_view param_name);

// Each appends its part and returns its result.
// images (uint8 RGB) -> pooled features [N, 1, 1, C].
ValueId add_mobilenet_v2_base(Graph& graph, const MobileNetV2Config& config, ValueId images,
                              Element element);
// pooled features -> logits. Head::None is a UsageError.
ValueId add_mobilenet_v2_head(Graph& graph, const MobileNetV2Config& config, ValueId pooled);

// The whole network: input "images", outputs "pooled" and, with a head, "logits".
Graph make_mobilenet_v2(const MobileNetV2Config& config, Element element = Element::F32);
// The whole network and its loss: inputs "images" and "targets", outputs "logits" and "loss".
Graph make_mobilenet_v2_training(const MobileNetV2Config& config, Element element = Element::F32);
// The head and its loss on given features: inputs "pooled" and "targets".
Graph make_head_training(const MobileNetV2Config& config);
// The head alone: input "pooled", output "logits".
Graph make_head(const MobileNetV2Config& config);

}  // namespace dfengine
