// Writes pictures as WebP in memory, by libwebp where the build has it.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Lossy WebP with libwebp's defaults, `quality` from 1 (worst) to 100: the pixels of Pillow's
// save(..., "WEBP", quality=quality, method=4). Replaces `file`. Throws UsageError for another
// quality and in a build without libwebp, ShapeError for an empty picture or a side above 16383.
void encode_webp(ImageView image, int quality, std::vector<std::byte>& file);

}  // namespace dfengine
