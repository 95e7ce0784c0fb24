// The orientation that a camera wrote into a picture file.
#pragma once

#include <cstddef>
#include <span>

#include "engine/data/pictures/image.h"

namespace dfengine {

// The orientation, 1 to 8, of a whole JPEG, PNG or WebP, as Pillow finds it: the Exif tag (of a PNG
// also the one that ImageMagick writes as text), and without one that of an XMP packet. It is 1
// where there is none or it makes no sense (Exif 2.3, section 4.6.4). Damaged data is no error.
int exif_orientation(std::span<const std::byte> file);

// Whether a whole JPEG, PNG or WebP holds Exif data where exif_orientation looks for them. Of a
// JPEG the header is enough.
bool has_exif(std::span<const std::byte> file);

// Turns and mirrors the picture so that it stands as it was seen, like Pillow's
// ImageOps.exif_transpose. The orientation is 1 to 8; `spare` is a buffer whose pixels are lost.
void apply_orientation(int orientation, Image& image, Image& spare);

}  // namespace dfengine
