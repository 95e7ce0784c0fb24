// WebP pictures, decoded by libwebp where the build has it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Decodes as decode_image (image.h) does, but leaves the orientation as it is stored. The pixels go
// to `out`, whose memory is used again. Throws DataError for a file that is damaged, cut short, an
// animation, of more than max_pixels or too large to decode (decode_checks.h), and in a build
// without libwebp.
void decode_webp(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                 Image& out);

}  // namespace dfengine
