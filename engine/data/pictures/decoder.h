// Decodes picture files one after the other, without new memory for each.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Keeps the buffers of file and pixels from picture to picture, unless they are very large, while
// the format libraries' own workspace comes and goes. Every thread needs a decoder of its own.
class ImageDecoder {
 public:
  // Pictures of more pixels are refused before any memory is taken. Throws UsageError for a limit
  // below 1 or above 2^30.
  explicit ImageDecoder(Index max_pixels = kMaxImagePixels);

  // As decode_image (image.h). The caller may use and change the picture until the next call.
  Image& decode(const std::filesystem::path& file);
  Image& decode(std::span<const std::byte> bytes, const std::string& name);

 private:
  Index max_pixels_;
  std::vector<std::byte> file_;
  Image image_, spare_;
};

}  // namespace dfengine
