// timm's mobilenetv2_*: PyTorch's conventions under the names of timm's EfficientNet builder.
#pragma once

#include <span>
#include <string>

#include "weights/families/mobilenet_v2_names.h"

namespace dfengine::weights {

// Declared as Source in weights/families/source.h asks.
bool is_timm(const TensorFile& file);
TensorFile timm_to_torchvision(TensorFile file, std::span<const Stage> stages,
                               const std::string& name_for_errors);

}  // namespace dfengine::weights
