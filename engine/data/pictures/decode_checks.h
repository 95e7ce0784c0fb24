// What the decoders of all formats share: their error and the limit on a picture's size.
#pragma once

#include <fmt/format.h>

#include <string>

#include "engine/data/pictures/image.h"
#include "kernels/base/error.h"

namespace dfengine {

[[noreturn]] inline void fail_decoding(const std::string& name, const std::string& cause) {
  throw DataError(fmt::format("cannot decode image {}: {}", name, cause));
}

[[noreturn]] inline void fail_reading(const std::string& name, const std::string& cause) {
  throw UnreadableFile(fmt::format("cannot decode image {}: {}", name, cause));
}

[[noreturn]] inline void fail_for_memory(const std::string& name, Index bytes) {
  throw OutOfMemory(
      fmt::format("out of memory: {} takes {} MiB and more; try fewer --threads, or a smaller "
                  "--max-pixels to leave such pictures out",
                  name, divide_up(bytes, Index{1} << 20)));
}

// Throws DataError when a header claims no pixels, or more than max_pixels or image.h allow. Call
// it before anything of that size is allocated.
inline void check_image_size(Index h, Index w, Index max_pixels, const std::string& name) {
  if (h < 1 || w < 1) fail_decoding(name, fmt::format("the header says {} x {} pixels", w, h));
  if (h > kMaxImageSide || w > kMaxImageSide || h * w > max_pixels) {
    fail_decoding(
        name,
        fmt::format("{} x {} pixels pass the limit of {} a side and {} in all (--max-pixels); "
                    "scale it down",
                    w, h, kMaxImageSide, max_pixels));
  }
}

}  // namespace dfengine
