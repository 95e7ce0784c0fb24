// Test-time augmentation: the forms of one picture whose logits are averaged.
#pragma once

#include "engine/data/pictures/resize.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

// One:   the picture as prepare_image makes it.
// Flip:  this and its mirror image.
// Crops: resized to 256 / 224 of the input size (rounded; Crop::None: both sides, Crop::Center: the
//        short one, Crop::Random: neither), then size x size cut from the four corners and the
//        middle, and the five mirror images: torchvision's TenCrop.
enum class Views { One, Flip, Crops };
template <>
inline constexpr auto enum_names<Views> =
    names_for<Views>("test-time augmentation",
                     {{"none", Views::One}, {"flip", Views::Flip}, {"crops", Views::Crops}});

Index view_count(Views views);

// Writes out [view_count(views), size, size, 3]. Throws as prepare_image does.
void prepare_views(ImageView image, Crop crop, Index size, Views views, Resizer& resizer,
                   std::uint8_t* out);

}  // namespace dfengine
