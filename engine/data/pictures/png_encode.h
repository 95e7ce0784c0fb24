// Pictures to PNG in memory.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Eight bits a channel, RGB. Throws ShapeError for an empty picture.
std::vector<std::byte> encode_png(ImageView image);

}  // namespace dfengine
