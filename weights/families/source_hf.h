// Hugging Face transformers' MobileNetV2 (google/mobilenet_v2_*): TensorFlow's conventions in
// PyTorch's layout.
#pragma once

#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Declared as Source in weights/families/source.h asks. A classifier of 1001 stays one: class 0 is
// "background".
bool is_hf(const TensorFile& file);
TensorFile hf_to_torchvision(TensorFile file, const std::string& name_for_errors);

}  // namespace dfengine::weights
