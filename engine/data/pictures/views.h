// Test-time augmentation: the forms of one picture whose logits are averaged.
#pragma once

#include <string>

#include "engine/data/pictures/resize.h"

namespace dfengine {

// One:   the picture as prepare_image makes it.
// Flip:  this and its mirror image.
// Crops: resized to 256 / 224 of the input size (rounded; Crop::None: both sides, Crop::Center: the
//        short one), then size x size cut from the four corners and the middle, and the five mirror
//        images: torchvision's TenCrop.
enum class Views { One, Flip, Crops };

// Reads "none", "flip" or "crops", and throws UsageError for another name.
Views parse_views(const std::string& name);
Index view_count(Views views);

// Writes out [view_count(views), size, size, 3]. Throws as prepare_image does.
void prepare_views(ImageView image, Crop crop, Index size, Views views, Resizer& resizer,
                   std::uint8_t* out);

}  // namespace dfengine
