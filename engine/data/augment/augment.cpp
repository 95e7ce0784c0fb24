#include "engine/data/augment/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

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

int draw_quality(Random& random, Range range) {
  const auto low = static_cast<int>(range.low);
  const auto qualities =
      static_cast<std::uint32_t>(range.high) + 1 - static_cast<std::uint32_t>(low);
  return low + static_cast<int>(random.below(qualities));
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

// As numpy's rot90 turns it.
void turn(int quarters, std::uint8_t* rgb, Index size, std::vector<std::uint8_t>& buffer) {
  if (quarters == 0) return;
  buffer.assign(rgb, rgb + size * size * 3);
  const Index last = size - 1;
  for (Index y = 0; y < size; ++y)
    for (Index x = 0; x < size; ++x, rgb += 3) {
      const Index from_y = quarters == 1 ? x : quarters == 2 ? last - y : last - x;
      const Index from_x = quarters == 1 ? last - y : quarters == 2 ? last - x : y;
      std::memcpy(rgb, buffer.data() + (from_y * size + from_x) * 3, 3);
    }
}

void turn_upside_down(std::uint8_t* rgb, Index size) {
  const Index row = size * 3;
  for (Index y = 0; y < size / 2; ++y)
    std::swap_ranges(rgb + y * row, rgb + (y + 1) * row, rgb + (size - 1 - y) * row);
}

// So many different squares, a part of all of them up to kMostMasked.
std::vector<std::uint32_t> draw_masked(Random random, const AugmentOptions& o, Index size) {
  if (random.uniform() >= o.patch_mask) return {};
  const double part = random.uniform(0, kMostMasked);
  const Index squares = size / kMaskPatch * (size / kMaskPatch);
  const auto count = static_cast<std::size_t>(part * static_cast<double>(squares));
  std::vector<std::uint32_t> all(at(squares));
  std::iota(all.begin(), all.end(), 0U);
  for (std::size_t i = 0; i < count; ++i)
    std::swap(all[i], all[i + random.below(static_cast<std::uint32_t>(all.size() - i))]);
  all.resize(count);
  std::ranges::sort(all);
  return all;
}

// Kinds that have streams of their own, because Kind has no room for them.
void draw_later_kinds(const AugmentOptions& o, Index size, std::uint64_t seed, std::uint64_t sub,
                      Augmentation& a) {
  Random turn(seed, RandomStream::Turn, sub), webp(seed, RandomStream::Webp, sub);
  const bool upside_down = turn.below(2) == 1;
  const auto quarters = static_cast<int>(turn.below(4));
  a.upside_down = o.vflip && upside_down;
  a.quarter_turns = o.rot90 ? quarters : 0;
  if (webp.uniform() < o.webp_prob) a.webp_quality = draw_quality(webp, o.webp_quality);
  if (o.patch_mask > 0) a.masked = draw_masked(Random(seed, RandomStream::Patch, sub), o, size);
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
  if (jpeg.uniform() < o.jpeg_prob) a.jpeg_quality = draw_quality(jpeg, o.jpeg_quality);
  a.erased = draw_erased(random(Kind::Erase), o, size);
  draw_later_kinds(o, size, seed, epoch << 32 | index, a);
  return a;
}

CropWindow draw_window(Index h, Index w, Index size, std::uint64_t seed, std::uint64_t epoch,
                       std::uint32_t index) {
  Random random(seed, RandomStream::Window, epoch << 32 | index);
  const auto start = [&](Index side) {
    const Index free = side - size;
    return free >= 0 ? below(random, free + 1) : -below(random, -free + 1);
  };
  const Index top = start(h);
  return {top, start(w), size, size};
}

void Augmenter::apply(const Augmentation& what, std::uint8_t* rgb, Index size) {
  const Pixels image{rgb, size, size};
  if (what.crop.h > 0) {
    square_.assign(rgb, rgb + image.bytes());
    const Pixels whole{square_.data(), size, size};
    resizer_.resize_part(whole, what.crop, size, size, rgb);
  }
  if (what.mirrored) mirror(rgb, size);
  if (what.upside_down) turn_upside_down(rgb, size);
  turn(what.quarter_turns, rgb, size, square_);
  change_color(what, image);
  if (what.downscale != 1) rescale(image, what.downscale, scratch_);
  gaussian_blur(image, what.blur_sigma, scratch_);
  if (what.jpeg_quality > 0) jpeg_recompress(image, what.jpeg_quality, scratch_);
  if (what.webp_quality > 0) webp_recompress(image, what.webp_quality, scratch_);
  const auto in_row = static_cast<std::uint32_t>(size / kMaskPatch);
  for (const std::uint32_t square : what.masked)
    erase({square / in_row * kMaskPatch, square % in_row * kMaskPatch, kMaskPatch, kMaskPatch},
          image);
  erase(what.erased, image);
}

}  // namespace dfengine
