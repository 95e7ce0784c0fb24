#include "weights/onnx/onnx_places.h"

namespace dfengine::weights {

std::vector<OnnxPlace> onnx_places(std::span<const Stage> stages) {
  std::vector<OnnxPlace> places;
  int first = 0;  // convolution of the block
  for (const ConvPlace& at : conv_places(stages)) {
    const ConvNames names = torchvision_names(at);
    const bool stem = at.role == ConvRole::Stem, depthwise = at.role == ConvRole::Depthwise;
    const bool ends_block = at.role == ConvRole::Project;
    if (at.role == (at.expanded ? ConvRole::Expand : ConvRole::Depthwise))
      first = static_cast<int>(places.size());
    places.push_back({.conv = names.conv,
                      .norm = names.norm,
                      .kernel = stem || depthwise ? 3 : 1,
                      .stride = stem        ? 2
                                : depthwise ? at.stride
                                            : 1,
                      .depthwise = depthwise,
                      .relu6 = !ends_block,
                      .skip_from = ends_block && at.stride == 1 ? first : -1});
  }
  return places;
}

}  // namespace dfengine::weights
