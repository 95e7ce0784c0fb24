#include "engine/data/pictures/image.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/pictures/resize.h"
#include "kernels/base/error.h"

namespace dfengine {
Index crop_start(Index in, Index out) {
  const Index d = in - out;
  return d / 2 + (d % 2 != 0 && d / 2 % 2 != 0 ? 1 : 0);
}

Sides enlarged(ImageView image, Crop crop, Index size) {
  const Index side = (16 * size + 7) / 14;  // in integers; a tie cannot occur
  if (crop == Crop::None) return {side, side};
  const Index short_side = std::min(image.h, image.w);
  // The long side is cut, not rounded.
  return {image.h * side / short_side, image.w * side / short_side};
}

void prepare_image(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out) {
  if (size < 1 || image.h < 1 || image.w < 1) {
    throw ShapeError(fmt::format("cannot prepare a picture of {} x {} pixels as {} x {}", image.w,
                                 image.h, size, size));
  }
  if (crop == Crop::None) {
    resizer.resize(image, size, size, out);
    return;
  }
  const auto [h, w] = enlarged(image, crop, size);
  resizer.resize_window(image, h, w, {crop_start(h, size), crop_start(w, size), size, size}, out);
}

void mirror(std::uint8_t* image, Index size) {
  for (Index y = 0; y < size; ++y) {
    std::uint8_t* row = image + y * size * 3;
    for (Index a = 0, b = size - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

}  // namespace dfengine
