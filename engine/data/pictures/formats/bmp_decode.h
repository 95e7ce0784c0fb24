// BMP pictures, decoded by stb_image.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Decodes as decode_image (image.h) does, but leaves the orientation as it is stored. The pixels go
// to `out`, whose memory is used again. Throws DataError, also for a file of more than max_pixels.
void decode_bmp(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                Image& out);

}  // namespace dfengine
