// Pictures to JPEG in memory, with libjpeg-turbo's defaults, which are Pillow's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Baseline, YCbCr with chroma halved both ways (4:2:0), the standard tables scaled to quality, from
// 1 (worst) to 100: the pixels of Pillow's save(..., quality=quality). Returns the file's bytes,
// which lie in `buffer`; it grows at need and never shrinks. Throws UsageError for another quality,
// ShapeError for an empty picture or a side above 65500.
std::span<const std::byte> encode_jpeg(ImageView image, int quality,
                                       std::vector<std::byte>& buffer);

}  // namespace dfengine
