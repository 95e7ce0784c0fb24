// Hugging Face transformers' MobileNetV2 (google/mobilenet_v2_*): TensorFlow's conventions in
// PyTorch's layout.
#pragma once

#include <span>
#include <string>

#include "weights/families/mobilenet_v2_names.h"

namespace dfengine::weights {

// Declared as Source in weights/families/source.h asks. A classifier of 1001 classes keeps them
// all: class 0 is "background".
bool is_hf(const TensorFile& file);
TensorFile hf_to_torchvision(TensorFile file, std::span<const Stage> stages,
                             const std::string& name_for_errors);

}  // namespace dfengine::weights
