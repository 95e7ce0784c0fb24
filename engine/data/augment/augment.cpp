#include "engine/data/augment/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/data/sets/dataset.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

// Kinds of change, each with its own random numbers. Never renumber: runs depend on it.
enum class Kind : std::uint64_t { Crop, Color, Downscale, Blur, Jpeg, Erase };

double between(Random& random, Range range) {
  return random.uniform(range.low, range.high);
}

Index below(Random& random, Index bound) {
  return static_cast<Index>(random.below(static_cast<std::uint32_t>(bound)));
}

// A rectangle of a part of the square's area and a ratio across : along, both drawn, the ratio on a
// logarithmic scale.
struct Sides {
  Index across, along;
};
Sides draw_sides(Random& random, Index size, Range scale, Range ratio) {
  const double area = static_cast<double>(size * size) * between(random, scale);
  const double r = std::exp(random.uniform(std::log(ratio.low), std::log(ratio.high)));
  return {std::lround(std::sqrt(area * r)), std::lround(std::sqrt(area / r))};
}

constexpr int kTries = 10;  // of torchvision, before it gives up

CropWindow draw_crop(Random random, const AugmentOptions& o, Index size) {
  for (int i = 0; i < kTries; ++i) {
    const auto [w, h] = draw_sides(random, size, o.scale, o.ratio);
    if (w < 1 || h < 1 || w > size || h > size) continue;
    const Index top = below(random, size - h + 1);
    return {top, below(random, size - w + 1), h, w};
  }
  // The greatest part of the middle that keeps to the ratio.
  const auto side = static_cast<double>(size);
  const Index w = o.ratio.high < 1 ? std::lround(side * o.ratio.high) : size;
  const Index h = o.ratio.low > 1 ? std::lround(side / o.ratio.low) : size;
  return {(size - h) / 2, (size - w) / 2, h, w};
}

CropWindow draw_erased(Random random, const AugmentOptions& o, Index size) {
  if (random.uniform() >= o.erase_prob) return {};
  for (int i = 0; i < kTries; ++i) {
    const auto [h, w] = draw_sides(random, size, o.erase_scale, o.erase_ratio);
    if (w < 1 || h < 1 || w >= size || h >= size) continue;
    const Index top = below(random, size - h + 1);
    return {top, below(random, size - w + 1), h, w};
  }
  return {};
}

void draw_color(Random random, const std::array<double, 4>& strength, Augmentation& out) {
  for (std::size_t i = 0; i < 3; ++i) {
    out.color[i] = random.uniform(std::max(0.0, 1 - strength[i]), 1 + strength[i]);
  }
  out.color[3] = random.uniform(-strength[3], strength[3]);
  for (std::size_t i = out.order.size(); i > 1; --i) {
    std::swap(out.order[i - 1], out.order[random.below(static_cast<std::uint32_t>(i))]);
  }
}

void change_color(const Augmentation& what, Pixels image) {
  for (int kind : what.order) {
    const double value = what.color[at(kind)];
    if (value == (kind == 3 ? 0.0 : 1.0)) continue;
    switch (kind) {
      case 0:
        brightness(image, value);
        break;
      case 1:
        contrast(image, value);
        break;
      case 2:
        saturation(image, value);
        break;
      default:
        hue(image, value);
    }
  }
}

void erase(const CropWindow& part, Pixels image) {
  constexpr std::uint8_t kMean[3] = {124, 116, 104};  // about 0 after normalisation
  for (Index y = part.top; y < part.top + part.h; ++y) {
    std::uint8_t* row = image.rgb + (y * image.w + part.left) * 3;
    for (Index x = 0; x < part.w; ++x) std::memcpy(row + 3 * x, kMean, 3);
  }
}

}  // namespace

Augmentation draw_augmentation(const AugmentOptions& o, Index size, std::uint64_t seed,
                               std::uint64_t epoch, std::uint32_t index) {
  // 2^29 epochs of 2^32 pictures.
  const auto random = [&](Kind kind) {
    const std::uint64_t sub =
        epoch << 35 | std::uint64_t{index} << 3 | static_cast<std::uint64_t>(kind);
    return Random(seed, RandomStream::Augment, sub);
  };
  Augmentation a;
  if (o.scale != Range{1, 1}) a.crop = draw_crop(random(Kind::Crop), o, size);
  a.mirrored = o.hflip && flip_sample(seed, epoch, index);
  if (o.color_jitter != std::array<double, 4>{}) draw_color(random(Kind::Color), o.color_jitter, a);
  Random downscale = random(Kind::Downscale), blur = random(Kind::Blur), jpeg = random(Kind::Jpeg);
  if (downscale.uniform() < o.downscale_prob) a.downscale = between(downscale, o.downscale);
  if (blur.uniform() < o.blur_prob) a.blur_sigma = between(blur, o.blur_sigma);
  if (jpeg.uniform() < o.jpeg_prob) {
    const auto low = static_cast<int>(o.jpeg_quality.low);
    const auto qualities =
        static_cast<std::uint32_t>(o.jpeg_quality.high) + 1 - static_cast<std::uint32_t>(low);
    a.jpeg_quality = low + static_cast<int>(jpeg.below(qualities));
  }
  a.erased = draw_erased(random(Kind::Erase), o, size);
  return a;
}

void Augmenter::apply(const Augmentation& what, std::uint8_t* rgb, Index size) {
  const Pixels image{rgb, size, size};
  if (what.crop.h > 0) {
    square_.assign(rgb, rgb + image.bytes());
    const Pixels whole{square_.data(), size, size};
    resizer_.resize_part(whole, what.crop, size, size, rgb);
  }
  if (what.mirrored) mirror(rgb, size);
  change_color(what, image);
  if (what.downscale != 1) rescale(image, what.downscale, scratch_);
  gaussian_blur(image, what.blur_sigma, scratch_);
  if (what.jpeg_quality > 0) jpeg_recompress(image, what.jpeg_quality, scratch_);
  erase(what.erased, image);
}

}  // namespace dfengine
