// Hugging Face transformers' MobileNetV2 (google/mobilenet_v2_*): TensorFlow's conventions in
// PyTorch's layout, names from transformers/models/mobilenet_v2/modeling_mobilenet_v2.py. A
// classifier of 1001 classes keeps them all: class 0 is "background".
#include <fmt/format.h>

#include <utility>

#include "weights/families/source.h"

namespace dfengine::weights {
namespace {

// Stands before the names of a model with a classifier; the bare backbone has no prefix.
constexpr const char* kPrefix = "mobilenet_v2.";

ConvNames hf_names(const ConvPlace& place) {
  const auto names = [](const std::string& layer) {
    return ConvNames{layer + ".convolution", layer + ".normalization"};
  };
  // The stem's names hold block 0.
  const std::string block =
      place.block == 0 ? "conv_stem" : fmt::format("layer.{}", place.block - 1);
  switch (place.role) {
    case ConvRole::Stem:
      return names("conv_stem.first_conv");
    case ConvRole::Expand:
      return names(block + ".expand_1x1");
    case ConvRole::Depthwise:
      return names(block + ".conv_3x3");
    case ConvRole::Project:
      return names(block + ".reduce_1x1");
    case ConvRole::Head:
      break;
  }
  return names("conv_1x1");
}

bool has_stem(const TensorFile& file, const std::string& prefix) {
  return file.find(prefix + "conv_stem.first_conv.convolution.weight") != nullptr;
}

bool recognise(const TensorFile& file) {
  return has_stem(file, kPrefix) || has_stem(file, "");
}

TensorFile translate(TensorFile file, std::span<const Stage> stages,
                     const std::string& name_for_errors) {
  const std::string prefix = has_stem(file, kPrefix) ? kPrefix : "";
  TensorFile out =
      rename_to_torchvision(std::move(file), stages, hf_names, prefix, name_for_errors);
  // transformers hands TensorFlow's decay 0.997 to PyTorch as a momentum, which would replace the
  // statistics almost wholly at every step. What was meant is 1 - 0.997.
  out.metadata.insert({{"bn_eps", "0.001"},
                       {"bn_momentum", "0.003"},
                       {"pad_mode", "tf_same"},
                       {"mean", "0.5,0.5,0.5"},
                       {"std", "0.5,0.5,0.5"}});
  return out;
}

}  // namespace

constinit const Source kHf = {"hf", recognise, translate};

}  // namespace dfengine::weights
