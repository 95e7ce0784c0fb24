#include "engine/data/augment/stability_forms.h"

#include <algorithm>

namespace dfengine {
namespace {

Pixels pixels_of(Image& image) {
  return {image.rgb.data(), image.h, image.w};
}

// Without 4 % of each side at each border, but at least one pixel.
Image without_borders(const Image& picture) {
  constexpr Index kPart = 25;
  const auto border = [](Index side) {
    return std::min(std::max(side / kPart, Index{1}), (side - 1) / 2);
  };
  const Index top = border(picture.h), left = border(picture.w);
  Image cut{picture.h - 2 * top, picture.w - 2 * left, {}};
  cut.rgb.resize(static_cast<std::size_t>(cut.h * cut.w * 3));
  cut_window(picture, {top, left, cut.h, cut.w}, cut.rgb.data());
  return cut;
}

}  // namespace

std::vector<Image> stability_forms(const Image& picture, PerturbScratch& scratch) {
  constexpr int kQuality = 75;
  constexpr double kSmaller = 0.75;
  Image compressed = picture, rescaled = picture;
  jpeg_recompress(pixels_of(compressed), kQuality, scratch);
  rescale(pixels_of(rescaled), kSmaller, scratch);
  return {picture, std::move(compressed), std::move(rescaled), without_borders(picture)};
}

}  // namespace dfengine
