// Writes pictures as JPEG in memory, with libjpeg-turbo's defaults, which are Pillow's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Writes baseline YCbCr with chroma halved both ways (4:2:0) and the standard tables scaled to
// `quality`, from 1 (worst) to 100, which gives the pixels of Pillow's save(..., quality=quality).
// Returns the file's bytes, which lie in `buffer`; the buffer grows when it must and never shrinks.
// Throws UsageError for another quality, ShapeError for an empty picture or a side above 65500.
std::span<const std::byte> encode_jpeg(ImageView image, int quality,
                                       std::vector<std::byte>& buffer);

}  // namespace dfengine
