// Reads a whole file, and a weights file of any format, recognised by its content.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// The bytes of a regular file of at most 4 GiB. Throws ModelFileError with the path and the cause.
std::vector<std::byte> read_file(const std::filesystem::path& path);
// The same as text.
std::string read_text(const std::filesystem::path& path);

enum class FileFormat { Unknown, Safetensors, TorchPickle, Zip, Hdf5, Onnx };

// Decides by the first bytes of the file, never by its name. The bytes after them may still be
// damaged.
FileFormat sniff_format(std::span<const std::byte> file);

// Reads a file of any of these formats. Throws ModelFileError with the path and the cause.
TensorFile read_tensor_file(const std::filesystem::path& path);
// The same of a file in memory. name_for_errors stands where the path would; what the file keeps in
// files beside it is refused.
TensorFile parse_tensor_file(std::span<const std::byte> bytes, const std::string& name_for_errors);

}  // namespace dfengine::weights
