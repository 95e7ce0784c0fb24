// timm's mobilenetv2_*: PyTorch's conventions under the names of timm's EfficientNet builder
// (timm/models/efficientnet.py and _efficientnet_blocks.py).
#include <fmt/format.h>

#include <utility>

#include "weights/families/source.h"

namespace dfengine::weights {
namespace {

// In a block without expansion (DepthwiseSeparableConv) the projection is conv_pw and the norms
// count from the depthwise convolution. In the others conv_pw is the expansion.
ConvNames timm_names(const ConvPlace& place) {
  const std::string block = fmt::format("blocks.{}.{}", place.stage, place.in_stage);
  switch (place.role) {
    case ConvRole::Stem:
      return {"conv_stem", "bn1"};
    case ConvRole::Expand:
      return {block + ".conv_pw", block + ".bn1"};
    case ConvRole::Depthwise:
      return {block + ".conv_dw", block + (place.expanded ? ".bn2" : ".bn1")};
    case ConvRole::Project:
      if (!place.expanded) return {block + ".conv_pw", block + ".bn2"};
      return {block + ".conv_pwl", block + ".bn3"};
    case ConvRole::Head:
      break;
  }
  return {"conv_head", "bn2"};
}

bool recognise(const TensorFile& file) {
  return file.find("conv_stem.weight") != nullptr &&
         file.find("blocks.0.0.conv_dw.weight") != nullptr;
}

TensorFile translate(TensorFile file, std::span<const Stage> stages,
                     const std::string& name_for_errors) {
  TensorFile out = rename_to_torchvision(std::move(file), stages, timm_names, "", name_for_errors);
  out.metadata.insert({{"bn_eps", "1e-05"},
                       {"bn_momentum", "0.1"},
                       {"pad_mode", "torch"},
                       {"mean", "0.485,0.456,0.406"},
                       {"std", "0.229,0.224,0.225"}});
  return out;
}

}  // namespace

constinit const Source kTimm = {"timm", recognise, translate};

}  // namespace dfengine::weights
