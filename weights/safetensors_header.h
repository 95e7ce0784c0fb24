// The JSON header of a safetensors file. Only safetensors.cpp needs this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// The bytes before the header hold its length.
constexpr std::size_t kHeaderStart = 8;
// The format's own limit, in bytes.
constexpr std::uint64_t kMaxHeaderSize = 100'000'000;
// The format sets no limit; NumPy and PyTorch stop here too.
constexpr std::size_t kMaxRank = 64;
// The one top-level name that is not a tensor.
constexpr std::string_view kMetadataKey = "__metadata__";

// What the header says of one tensor. Offsets count from the end of the header and are not checked
// against the file yet.
struct HeaderEntry {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct Header {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Reads the JSON text. Throws ModelFileError naming file, tensor or byte offset, and cause.
// Doubled tensor names are left to the caller; every other doubled key is refused here.
Header parse_safetensors_header(std::string_view json, const std::string& file);

// The JSON text of a header, without padding. Throws ModelFileError for text that is not UTF-8.
std::string format_safetensors_header(const Header& header);

}  // namespace dfengine::weights
