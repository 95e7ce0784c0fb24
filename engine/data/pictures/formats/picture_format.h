// Tells what a file is by its first bytes, whatever its name says.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace dfengine {

// As many bytes tell every format that is known here.
constexpr std::size_t kFormatBytes = 512;

struct FileFormat {
  enum class Kind { Read, Picture, Other };

  std::string_view name = "";    // "JPEG", "GIF", "HTML page"; "" where the bytes tell nothing
  Kind kind = Kind::Other;       // a picture that is read, one that is not, or no picture
  std::string_view advice = "";  // what to do with a file that is not read
};

// Of a whole file or its first bytes.
FileFormat file_format(std::span<const std::byte> bytes);
// Why such a file is no picture for us, and what to do, for errors; "" for one that is read.
std::string why_not_read(const FileFormat& format);

}  // namespace dfengine
