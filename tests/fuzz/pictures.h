// What all picture targets check of a decoder.
#pragma once

#include <cstdlib>
#include <span>
#include <string_view>

#include "engine/data/pictures/decoder.h"
#include "engine/data/pictures/exif.h"
#include "engine/data/pictures/formats/picture_format.h"
#include "kernels/base/error.h"

namespace dfengine::fuzz {

// Any file of the format gives a picture within the limit or an Error. Others are passed over, so
// that a target's time is spent on its own format.
inline void check_picture(std::span<const std::byte> file, std::string_view format) {
  if (file_format(file).name != format) return;
  if (const int turned = exif_orientation(file); turned < 1 || turned > 8) std::abort();
  constexpr Index kMaxPixels = Index{1} << 18;
  static ImageDecoder decoder(kMaxPixels);
  try {
    const Image& image = decoder.decode(file, "fuzz");
    if (image.h < 1 || image.w < 1 || image.h * image.w > kMaxPixels ||
        std::ssize(image.rgb) != image.h * image.w * 3)
      std::abort();
  } catch (const Error&) {
  }
}

}  // namespace dfengine::fuzz
