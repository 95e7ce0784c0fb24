#include "engine/data/augment/perturb.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/data/pictures/formats/webp_decode.h"
#include "engine/data/pictures/jpeg.h"
#include "engine/data/pictures/jpeg_encode.h"
#include "engine/data/pictures/webp_encode.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

void check(Pixels image, const char* what, bool valid, double value) {
  if (image.h < 1 || image.w < 1) {
    throw ShapeError(fmt::format("{} of a picture of {} x {} pixels", what, image.w, image.h));
  }
  if (!valid) throw UsageError(fmt::format("{}: {:g} is out of range", what, value));
}

std::uint8_t to_level(float v) {
  return static_cast<std::uint8_t>(std::clamp(v + 0.5f, 0.0f, 255.0f));
}

// Where position i of an endlessly mirrored axis lies: ... 1 0 | 0 1 .. n-1 | n-1 n-2 ...
Index mirrored_at(Index i, Index n) {
  const Index at = ((i % (2 * n)) + 2 * n) % (2 * n);
  return at < n ? at : 2 * n - 1 - at;
}

// kernel [2 * radius + 1], of sum 1. Returns the radius.
Index gaussian_kernel(double sigma, std::vector<float>& kernel) {
  const auto radius = static_cast<Index>(4 * sigma + 0.5);
  kernel.resize(static_cast<std::size_t>(2 * radius + 1));
  double sum = 0;
  const auto weight = [sigma](Index t) {
    const double x = static_cast<double>(t) / sigma;
    return std::exp(-0.5 * x * x);
  };
  for (Index t = -radius; t <= radius; ++t) sum += weight(t);
  for (Index t = -radius; t <= radius; ++t) {
    kernel[at(t + radius)] = static_cast<float>(weight(t) / sum);
  }
  return radius;
}

// Pillow's blend of a degenerate picture (level `base`) with level `v`: cut, not rounded.
std::uint8_t blend(int base, int v, float factor) {
  const float mixed = static_cast<float>(base) + factor * static_cast<float>(v - base);
  return static_cast<std::uint8_t>(std::clamp(mixed, 0.0f, 255.0f));
}

// ITU-R 601 luma as Pillow's convert("L") has it.
int gray_of(const std::uint8_t* p) {
  return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

// Level of a hue, of [0, 1) as 0 to 255. Where two colours are the largest, red goes before green.
// Widths of the steps are Pillow's: it keeps results in float and computes in double.
int hue_level(const std::uint8_t* p, int top, int bottom) {
  const auto range = static_cast<float>(top - bottom);
  const float red = static_cast<float>(top - p[0]) / range;
  const float green = static_cast<float>(top - p[1]) / range;
  const float blue = static_cast<float>(top - p[2]) / range;
  double sector = 4.0 + green - red;
  if (p[0] == top) {
    sector = blue - green;
  } else if (p[1] == top) {
    sector = 2.0 + red - blue;
  }
  const double turns = std::fmod(static_cast<float>(sector) / 6.0 + 1.0, 1.0);
  return static_cast<int>(static_cast<float>(turns) * 255.0);
}

// The colour of hue, saturation and value, each 0 to 255 (Smith 1978).
void hsv_to_rgb(int h, int s, int v, std::uint8_t* p) {
  const double turned = static_cast<double>(static_cast<float>(h)) * 6.0 / 255.0;
  const int sector = static_cast<int>(std::floor(turned));
  const auto f = static_cast<float>(turned - sector);
  const auto share = static_cast<float>(s / 255.0);
  const auto level = [v](double part) { return static_cast<std::uint8_t>(std::lround(v * part)); };
  const std::uint8_t low = level(1.0 - share);
  const std::uint8_t falling = level(1.0 - static_cast<double>(share * f));
  const std::uint8_t rising = level(1.0 - static_cast<double>(share) * (1.0 - f));
  const auto top = static_cast<std::uint8_t>(v);
  const std::uint8_t colours[6][3] = {{top, rising, low}, {falling, top, low},
                                      {low, top, rising}, {low, falling, top},
                                      {rising, low, top}, {top, low, falling}};
  std::memcpy(p, colours[sector % 6], 3);
}

}  // namespace

void jpeg_recompress(Pixels image, int quality, PerturbScratch& scratch) {
  check(image, "JPEG quality", quality >= 1 && quality <= 100, quality);
  const std::span file = encode_jpeg(image, quality, scratch.file);
  decode_jpeg(file, "recompressed picture", image.h * image.w, scratch.image);
  std::memcpy(image.rgb, scratch.image.rgb.data(), image.bytes());
}

void webp_recompress(Pixels image, int quality, PerturbScratch& scratch) {
  check(image, "WebP quality", quality >= 1 && quality <= 100, quality);
  encode_webp(image, quality, scratch.file);
  decode_webp(scratch.file, "recompressed picture", image.h * image.w, scratch.image);
  std::memcpy(image.rgb, scratch.image.rgb.data(), image.bytes());
}

void gaussian_blur(Pixels image, double sigma, PerturbScratch& scratch) {
  check(image, "blur sigma", sigma >= 0 && sigma <= 100, sigma);
  if (sigma == 0) return;
  const Index radius = gaussian_kernel(sigma, scratch.kernel);
  const Index taps = 2 * radius + 1, n = image.w * 3;
  const float* kernel = scratch.kernel.data();
  scratch.row.resize(static_cast<std::size_t>((image.w + 2 * radius) * 3));
  scratch.rows.resize(static_cast<std::size_t>(image.h * n));
  float* row = scratch.row.data();
  for (Index y = 0; y < image.h; ++y) {
    for (Index x = 0; x < image.w + 2 * radius; ++x) {
      const std::uint8_t* p = image.rgb + y * n + 3 * mirrored_at(x - radius, image.w);
      for (Index c = 0; c < 3; ++c) row[3 * x + c] = p[c];
    }
    float* out = scratch.rows.data() + y * n;
    std::fill_n(out, n, 0.0f);
    for (Index t = 0; t < taps; ++t) {
      for (Index i = 0; i < n; ++i) out[i] += kernel[t] * row[3 * t + i];
    }
  }
  for (Index y = 0; y < image.h; ++y) {
    std::fill_n(row, n, 0.0f);
    for (Index t = 0; t < taps; ++t) {
      const float* in = scratch.rows.data() + mirrored_at(y + t - radius, image.h) * n;
      for (Index i = 0; i < n; ++i) row[i] += kernel[t] * in[i];
    }
    std::transform(row, row + n, image.rgb + y * n, to_level);
  }
}

void rescale(Pixels image, double factor, PerturbScratch& scratch) {
  check(image, "rescale factor", factor > 0 && factor <= 4, factor);
  const auto side = [factor](Index n) {
    return std::max(Index{1}, static_cast<Index>(std::lround(static_cast<double>(n) * factor)));
  };
  Image& other = scratch.image;
  other.h = side(image.h);
  other.w = side(image.w);
  other.rgb.resize(static_cast<std::size_t>(other.h * other.w * 3));
  scratch.resizer.resize(image, other.h, other.w, other.rgb.data());
  scratch.resizer.resize(other, image.h, image.w, image.rgb);
}

void add_noise(Pixels image, double sigma, std::uint64_t seed, std::uint64_t key) {
  check(image, "noise sigma", sigma >= 0 && sigma <= 255, sigma);
  Random random(seed, RandomStream::Noise, key);
  for (std::uint8_t& level : std::span(image.rgb, image.bytes())) {
    level = to_level(static_cast<float>(level + sigma * random.normal()));
  }
}

void brightness(Pixels image, double factor) {
  check(image, "brightness", factor >= 0 && std::isfinite(factor), factor);
  for (std::uint8_t& v : std::span(image.rgb, image.bytes())) {
    v = blend(0, v, static_cast<float>(factor));
  }
}

void contrast(Pixels image, double factor) {
  check(image, "contrast", factor >= 0 && std::isfinite(factor), factor);
  Index sum = 0;
  const std::size_t bytes = image.bytes();
  for (std::size_t i = 0; i < bytes; i += 3) sum += gray_of(image.rgb + i);
  const std::size_t pixels = bytes / 3;
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + .5);
  for (std::uint8_t& v : std::span(image.rgb, bytes))
    v = blend(mean, v, static_cast<float>(factor));
}

void saturation(Pixels image, double factor) {
  check(image, "saturation", factor >= 0 && std::isfinite(factor), factor);
  for (std::size_t i = 0; i < image.bytes(); i += 3) {
    std::uint8_t* p = image.rgb + i;
    const int gray = gray_of(p);
    for (int c = 0; c < 3; ++c) p[c] = blend(gray, p[c], static_cast<float>(factor));
  }
}

void hue(Pixels image, double shift) {
  check(image, "hue", shift >= -0.5 && shift <= 0.5, shift);
  const int turn = static_cast<int>(shift * 255);  // towards zero, as torchvision does
  for (std::size_t i = 0; i < image.bytes(); i += 3) {
    std::uint8_t* p = image.rgb + i;
    const int top = std::max({p[0], p[1], p[2]}), bottom = std::min({p[0], p[1], p[2]});
    if (top == bottom) continue;  // gray has no hue
    const int level = hue_level(p, top, bottom);
    const float part = static_cast<float>(top - bottom) / static_cast<float>(top);
    const int share = static_cast<int>(part * 255.0);
    if (share == 0) {
      std::memset(p, top, 3);
    } else {
      hsv_to_rgb((level + turn) & 255, share, top, p);
    }
  }
}

}  // namespace dfengine
