#include "engine/data/image.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/resize.h"
#include "kernels/error.h"

namespace dfengine {
ResizeRule parse_resize(const std::string& name) {
  for (ResizeRule rule : {ResizeRule::Bilinear, ResizeRule::Bicubic, ResizeRule::Nearest})
    if (name == resize_name(rule)) return rule;
  throw UsageError("resize '" + name + "' is unknown; known: bilinear bicubic nearest");
}

Crop parse_crop(const std::string& name) {
  for (Crop crop : {Crop::None, Crop::Center})
    if (name == crop_name(crop)) return crop;
  throw UsageError("crop '" + name + "' is unknown; known: none center");
}

const char* resize_name(ResizeRule rule) {
  switch (rule) {
    case ResizeRule::Bilinear:
      return "bilinear";
    case ResizeRule::Bicubic:
      return "bicubic";
    case ResizeRule::Nearest:
      break;
  }
  return "nearest";
}

const char* crop_name(Crop crop) {
  return crop == Crop::Center ? "center" : "none";
}

namespace {

// torchvision's center_crop: round((in - out) / 2), halves to even.
Index crop_start(Index in, Index out) {
  const Index d = in - out;
  return d / 2 + (d % 2 != 0 && d / 2 % 2 != 0 ? 1 : 0);
}

}  // namespace

void prepare_image(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out) {
  if (size < 1 || image.h < 1 || image.w < 1) {
    throw ShapeError(fmt::format("cannot prepare a picture of {} x {} pixels as {} x {}", image.w,
                                 image.h, size, size));
  }
  if (crop == Crop::None) {
    resizer.resize(image, size, size, out);
    return;
  }
  // round(size * 256 / 224) in integers; a tie cannot occur. The long side is cut, not rounded.
  const Index side = (16 * size + 7) / 14;
  const Index short_side = std::min(image.h, image.w);
  const Index h = image.h * side / short_side;
  const Index w = image.w * side / short_side;
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
