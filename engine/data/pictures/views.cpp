#include "engine/data/pictures/views.h"

#include <algorithm>

namespace dfengine {
namespace {

constexpr Index kCrops = 5;

// Top left, top right, bottom left, bottom right, middle.
void cut_crops(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out) {
  const auto [h, w] = enlarged(image, crop, size);
  const CropWindow windows[kCrops] = {{0, 0, size, size},
                                      {0, w - size, size, size},
                                      {h - size, 0, size, size},
                                      {h - size, w - size, size, size},
                                      middle_window({nullptr, h, w}, size)};
  for (const CropWindow& window : windows) {
    if (crop == Crop::Random)
      cut_window(image, window, out);
    else
      resizer.resize_window(image, h, w, window, out);
    out += size * size * 3;
  }
}

}  // namespace

Index view_count(Views views) {
  return views == Views::One ? 1 : views == Views::Flip ? 2 : 2 * kCrops;
}

void prepare_views(ImageView image, Crop crop, Index size, Views views, Resizer& resizer,
                   std::uint8_t* out) {
  const Index bytes = size * size * 3;
  if (views == Views::Crops && size >= 1 && image.h >= 1 && image.w >= 1) {
    cut_crops(image, crop, size, resizer, out);
  } else {
    prepare_image(image, crop, size, resizer, out);
  }
  const Index plain = views == Views::One ? 0 : view_count(views) / 2;
  for (Index i = 0; i < plain; ++i) {
    std::uint8_t* copy = out + (plain + i) * bytes;
    std::copy_n(out + i * bytes, bytes, copy);
    mirror(copy, size);
  }
}

}  // namespace dfengine
