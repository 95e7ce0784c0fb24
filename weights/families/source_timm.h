// timm's mobilenetv2_*: PyTorch's conventions under the names of timm's EfficientNet builder.
#pragma once

#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Declared as Source in weights/families/source.h asks.
bool is_timm(const TensorFile& file);
TensorFile timm_to_torchvision(TensorFile file, const std::string& name_for_errors);

}  // namespace dfengine::weights
