#include "weights/families/other_networks.h"

#include <algorithm>
#include <string_view>

namespace dfengine::weights {
namespace {

// All parts must be somewhere in the names. The first row that fits counts, so that narrower ones
// stand before wider ones.
struct Row {
  const char* network;
  std::string_view parts[2];
};
constexpr Row kRows[] = {{"Swin Transformer", {"relative_position_bias_table", ""}},
                         {"a Vision Transformer", {"cls_token", ""}},
                         {"a Vision Transformer", {"class_token", ""}},
                         {"a Vision Transformer", {"patch_embed", ""}},
                         {"CLIP", {"visual.conv1", ""}},
                         {"a language model", {"embed_tokens", ""}},
                         {"a language model", {"word_embeddings", ""}},
                         {"ConvNeXt", {"dwconv", "gamma"}},
                         {"ConvNeXt", {"conv_dw", "stages."}},
                         {"ConvNeXt of torchvision", {"layer_scale", "features."}},
                         {"EfficientNet", {"_conv_stem", "_se_reduce"}},
                         {"EfficientNet or MobileNetV3 of timm", {"conv_stem", ".se."}},
                         {"EfficientNet of torchvision", {"features.1.0.block", ""}},
                         {"MobileNetV3 of torchvision", {"features.1.block", ""}},
                         {"EfficientNet of Keras", {"block1a_", ""}},
                         {"EfficientNet of Keras", {"stem_conv", ""}},
                         {"MobileNet (version 1) of Keras", {"conv_dw_1", ""}},
                         {"MobileNetV3 of Keras", {"expanded_conv", "squeeze_excite"}},
                         {"DenseNet", {"denseblock1", ""}},
                         {"RegNet", {"trunk_output", ""}},
                         {"MNASNet", {"layers.8.0.layers", ""}},
                         {"DenseNet of Keras", {"conv2_block1_concat", ""}},
                         {"DenseNet of Keras", {"conv2_block1_0_bn", ""}},
                         {"ResNet of Keras", {"conv2_block1_1_conv", ""}},
                         {"ResNet", {"layer1.0.conv1", ""}},
                         {"VGG of Keras", {"block1_conv1", "block3_conv1"}},
                         {"Xception", {"block1_conv1", "block2_sepconv1"}},
                         {"Xception", {"block1.rep", ""}},
                         {"Inception", {"Mixed_5b", ""}},
                         {"Inception", {"mixed0", ""}},
                         {"SqueezeNet", {"squeeze.weight", "expand1x1"}},
                         {"ShuffleNet", {"stage2.0.branch1", ""}},
                         {"GoogLeNet", {"inception3a", ""}},
                         {"YOLO", {"model.0.conv", ""}},
                         {"a diffusion model", {"down_blocks", "up_blocks"}},
                         {"VGG or AlexNet", {"features.0.weight", "classifier.6"}}};

}  // namespace

std::string guess_network(const TensorFile& file) {
  // Keras 3 names variables by their layers' classes alone; its configuration has the names.
  const auto config = file.metadata.find("@model_config");
  const auto anywhere = [&](std::string_view part) {
    const auto in = [&](const std::string& text) { return text.find(part) != std::string::npos; };
    return part.empty() || (config != file.metadata.end() && in(config->second)) ||
           std::ranges::any_of(file.tensors, in, &Tensor::name);
  };
  for (const Row& row : kRows)
    if (anywhere(row.parts[0]) && anywhere(row.parts[1])) return row.network;
  return "";
}

}  // namespace dfengine::weights
