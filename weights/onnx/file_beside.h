// Files in an ONNX model's own folder, where exporters put its large constants.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace dfengine::weights {

// The bytes of the file of that name. Throws ModelFileError.
using FileBeside = std::function<std::vector<std::byte>(const std::string& name)>;

// For bytes that come from no folder: throws.
std::vector<std::byte> nothing_beside(const std::string& name);

}  // namespace dfengine::weights
