// The structure of MobileNetV2 as a list of places.
#include "weights/families/mobilenet_v2_names.h"

#include <fmt/format.h>

namespace dfengine::weights {

std::vector<ConvPlace> conv_places(std::span<const Stage> stages) {
  std::vector<ConvPlace> list = {{.role = ConvRole::Stem}};
  int block = 0;
  for (int stage = 0; stage < static_cast<int>(stages.size()); ++stage) {
    const Stage& of = stages[static_cast<std::size_t>(stage)];
    for (int in_stage = 0; in_stage < of.repeats; ++in_stage, ++block) {
      for (const ConvRole role : {ConvRole::Expand, ConvRole::Depthwise, ConvRole::Project}) {
        if (role == ConvRole::Expand && of.expand == 1) continue;
        list.push_back({.role = role,
                        .block = block,
                        .stage = stage,
                        .in_stage = in_stage,
                        .expanded = of.expand != 1,
                        .stride = in_stage == 0 ? of.stride : 1});
      }
    }
  }
  list.push_back({.role = ConvRole::Head, .block = block});
  return list;
}

// A convolution with an activation is a group of two (conv, norm); the projection stands alone.
ConvNames torchvision_names(const ConvPlace& place) {
  const int depthwise = place.expanded ? 1 : 0;  // behind the expansion, where there is one
  const std::string feature = fmt::format("features.{}", place.block + 1);
  const std::string block = feature + ".conv";
  switch (place.role) {
    case ConvRole::Stem:
      return {"features.0.0", "features.0.1"};
    case ConvRole::Expand:
      return {block + ".0.0", block + ".0.1"};
    case ConvRole::Depthwise:
      return {fmt::format("{}.{}.0", block, depthwise), fmt::format("{}.{}.1", block, depthwise)};
    case ConvRole::Project:
      return {fmt::format("{}.{}", block, depthwise + 1),
              fmt::format("{}.{}", block, depthwise + 2)};
    case ConvRole::Head:
      break;
  }
  return {feature + ".0", feature + ".1"};
}

}  // namespace dfengine::weights
