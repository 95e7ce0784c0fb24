// PNG pictures, decoded row by row by libpng.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Decodes as decode_image (image.h) does, but leaves the orientation as it is stored. The pixels go
// to `out`, whose memory is used again; beside it a few rows are kept. Throws DataError for a file
// that is damaged, cut short, or of more than max_pixels.
void decode_png(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                Image& out);

}  // namespace dfengine
