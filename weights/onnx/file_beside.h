// Files in an ONNX model's own folder, where exporters put its large constants.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {

// The bytes of the file of that name. Throws ModelFileError.
using FileBeside = std::function<std::vector<std::byte>(const std::string& name)>;

// For bytes that come from no folder: throws.
inline std::vector<std::byte> nothing_beside(const std::string& name) {
  throw ModelFileError(printable(name) + ": there are no files beside the model");
}

}  // namespace dfengine::weights
