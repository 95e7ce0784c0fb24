// The safetensors format: the length of the header in 8 little-endian bytes, a JSON header that may
// be padded with spaces, then the elements of all tensors without holes.
// It is described in https://github.com/huggingface/safetensors, section "Format".
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Tensors in the order of the header. Those of the format's types that DType has not are left out,
// and metadata kLeftOut (families/source.h) names them. Throws ModelFileError with the file, the
// tensor or byte offset, and the cause, for anything the format does not allow: also for doubled
// names, tensors that overlap or leave holes, unknown element types, more than 64 dimensions or
// 65,536 tensors; and where the file has a digest (content_digest.h), which is taken out of the
// metadata, for content that is not what was written.
TensorFile read_safetensors(const std::filesystem::path& path);

// The same of a file in memory. name_for_errors stands where the path would.
TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name_for_errors);

// The bytes of a file with these metadata, which come first, and the tensors of `file` in the given
// order; the header is padded to a multiple of 8 bytes.
// Throws ModelFileError naming the tensor if the format cannot hold it: bytes that do not fit shape
// and type, doubled name, the name "__metadata__", text that is not UTF-8.
std::vector<std::byte> serialize_safetensors(const TensorFile& file,
                                             std::map<std::string, std::string> metadata);

// As serialize_safetensors with the metadata of `file` and a digest of its content, and
// write_file_atomic; throws what they throw.
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace dfengine::weights
