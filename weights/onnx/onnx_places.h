// The network's convolutions as an ONNX graph must have them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "weights/families/mobilenet_v2_names.h"

namespace dfengine::weights {

// A convolution of the network and what its node in the graph must be.
struct OnnxPlace {
  std::string conv, norm;  // torchvision's names
  int kernel, stride;
  bool depthwise, relu6;
  int skip_from;  // the block's first convolution if it has stride 1 and ends here, else -1
};

std::vector<OnnxPlace> onnx_places(std::span<const Stage> stages);

}  // namespace dfengine::weights
