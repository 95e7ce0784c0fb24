// The safetensors format: 8 bytes header length (little-endian), a JSON header that may be padded
// with spaces, then the elements of all tensors without holes.
// Format: https://github.com/huggingface/safetensors, section "Format".
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Tensors in the order of the header. Throws ModelFileError with the file, the tensor or byte
// offset, and the cause, for anything the format does not allow: also for doubled names, tensors
// that overlap or leave holes, unknown element types, more than 64 dimensions.
TensorFile read_safetensors(const std::filesystem::path& path);

// The same from memory. name_for_errors stands where the path would.
TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name_for_errors);

// The file's bytes: metadata first, tensors in the given order, header padded to a multiple of 8.
// Throws ModelFileError naming the tensor if the format cannot hold it: bytes that do not fit shape
// and type, doubled name, the name "__metadata__", text that is not UTF-8.
std::vector<std::byte> serialize_safetensors(const TensorFile& file);

// serialize_safetensors and write_file_atomic: throws what they throw.
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace dfengine::weights
