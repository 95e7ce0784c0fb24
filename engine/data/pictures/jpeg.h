// JPEG pictures, decoded by libjpeg-turbo to the pixels that Pillow gives.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/data/pictures/image.h"

namespace dfengine {

// The most scans that a file may have. Progressive encoders write about ten, and each costs a walk
// over the whole picture, however few bytes it takes.
constexpr int kMaxJpegScans = 100;

// Reads baseline and progressive files, in gray, YCbCr, RGB, CMYK or YCCK of 8 bits, the last two
// with inverted inks as Adobe stores them and Pillow takes for granted. The pixels go to `out`,
// whose memory is used again, as they are stored, whatever the orientation tag says. Throws
// DataError with `name` and cause for a file that is cut short, loses pixels to damage, or passes
// max_pixels, a limit of image.h or kMaxJpegScans.
void decode_jpeg(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                 Image& out);

}  // namespace dfengine
