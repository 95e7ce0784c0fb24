#include "engine/data/pictures/image.h"

#include <algorithm>

#include "kernels/base/error.h"

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

void mirror(std::uint8_t* image, Index size) {
  for (Index y = 0; y < size; ++y) {
    std::uint8_t* row = image + y * size * 3;
    for (Index a = 0, b = size - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

}  // namespace dfengine
