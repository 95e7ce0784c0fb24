// Writes pictures as PNG in memory.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/data/pictures/image.h"

namespace dfengine {

// Gives a file of RGB with eight bits a channel. Throws ShapeError for an empty picture.
std::vector<std::byte> encode_png(ImageView image);

}  // namespace dfengine
