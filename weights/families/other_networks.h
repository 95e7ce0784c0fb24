// Names of networks that people mistake for MobileNetV2, by the names of their tensors.
#pragma once

#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// "ResNet", "EfficientNet", ... in words that follow "it looks like "; "" where nothing is known.
std::string guess_network(const TensorFile& file);

}  // namespace dfengine::weights
