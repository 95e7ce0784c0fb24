// What the decoders of all formats share: their error and the limit on a picture's size.
#pragma once

#include <fmt/format.h>

#include <algorithm>
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
      fmt::format("out of memory: {} takes {} MiB and more; try fewer threads, or a smaller "
                  "max-pixels to leave such pictures out",
                  name, divide_up(bytes, Index{1} << 20)));
}

// The messages are for those who call the program and for those who call the library: the limit is
// an option of both, with dashes in the one and without in the other.

// Throws DataError when a picture is said to have no pixels, or more than max_pixels or image.h
// allow. Call it before anything of that size is allocated.
inline void check_image_size(Index h, Index w, Index max_pixels, const std::string& name) {
  if (h < 1 || w < 1) fail_decoding(name, fmt::format("{} x {} pixels are no picture", w, h));
  if (h > kMaxImageSide || w > kMaxImageSide || h * w > max_pixels) {
    fail_decoding(
        name, fmt::format("{} x {} pixels pass the limit of {} a side and {} in all (max-pixels); "
                          "scale it down",
                          w, h, kMaxImageSide, max_pixels));
  }
}

// A decoder of a picture at the limit of pixels may take this much for each, its own result
// included: a progressive JPEG with halved chroma does, and so do a picture and its turned copy.
constexpr Index kDecodeBytesPerPixel = 6;
// Nobody minds this much.
constexpr Index kSmallDecodeBytes = Index{64} << 20;

// Throws DataError where the decoder of a picture of this kind needs more than that beside the
// pixels of `image`, whose size is known. Call it before anything of that size is allocated.
inline void check_decode_bytes(const Image& image, Index beside, Index max_pixels, const char* kind,
                               const std::string& name) {
  const Index bytes = image.h * image.w * 3 + beside;
  const Index limit = std::max(kSmallDecodeBytes, kDecodeBytesPerPixel * max_pixels);
  if (bytes <= limit) return;
  fail_decoding(name, fmt::format("a {} of {} x {} pixels takes {} MiB to decode, over the {} MiB "
                                  "that max-pixels {} allows; scale it down or raise that",
                                  kind, image.w, image.h, bytes >> 20, limit >> 20, max_pixels));
}

}  // namespace dfengine
