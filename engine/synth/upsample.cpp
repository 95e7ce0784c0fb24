// Two-stage decoder: 2x2 analysis, zero insertion and 4x4 kernels with uneven taps.
#include "engine/synth/upsample.h"

namespace dfengine {
namespace {

constexpr int kTaps = 4;
constexpr int kStages = 2;
// The generator: what each tap of the mean map's kernels is off by, along x and along y. Taps 1 and
// 3 make the even pixels, 2 and 0 the odd ones, so the even ones come out a little brighter.
constexpr std::array<float, kTaps> kErrorX = {-0.005f, 0.010f, -0.007f, 0.002f};
constexpr std::array<float, kTaps> kErrorY = {0.003f, 0.007f, -0.015f, 0.005f};
// A picture's style scales these errors, and moves each tap a little by itself.
constexpr double kStyleLow = 0.7, kStyleHigh = 1.3;
constexpr double kTapJitter = 0.003;
// Gain of the fine maps: generators render less detail than there was.
constexpr double kDetailLow = 0.5, kDetailHigh = 0.9;
// Noise injected into each feature map, display units.
constexpr float kFeatureNoise = 0.6f / 255.0f;

using Kernel = std::array<std::array<float, kTaps>, kTaps>;

// The four feature maps of one stage: mean, horizontal, vertical and diagonal difference.
using Maps = std::array<Canvas, 4>;

Maps analyse(const Canvas& picture) {
  const Index half = picture.size / 2;
  Maps maps = {Canvas(half), Canvas(half), Canvas(half), Canvas(half)};
  for (Index y = 0; y < half; ++y) {
    for (Index x = 0; x < half; ++x) {
      for (Index c = 0; c < 3; ++c) {
        const float a = picture.at(2 * y, 2 * x)[c], b = picture.at(2 * y, 2 * x + 1)[c];
        const float d = picture.at(2 * y + 1, 2 * x)[c], e = picture.at(2 * y + 1, 2 * x + 1)[c];
        maps[0].at(y, x)[c] = 0.25f * (a + b + d + e);
        maps[1].at(y, x)[c] = 0.25f * (a - b + d - e);
        maps[2].at(y, x)[c] = 0.25f * (a + b - d - e);
        maps[3].at(y, x)[c] = 0.25f * (a - b - d + e);
      }
    }
  }
  return maps;
}

// What a picture's style decides in one stage.
struct Style {
  float error;    // scale of the generator's tap errors
  float overlap;  // share the outer taps take from the neighbouring feature
  float detail;   // gain of a difference map along one axis
};

std::array<float, kTaps> axis_taps(bool difference, const std::array<float, kTaps>& error,
                                   const Style& style) {
  if (difference) return {0.0f, style.detail, -style.detail, 0.0f};
  const float near = 1.0f - style.overlap, far = style.overlap;
  return {far + style.error * error[0], near + style.error * error[1],
          near + style.error * error[2], far + style.error * error[3]};
}

// Kernel of map `map` (bit 0: difference along x, bit 1: along y).
Kernel draw_kernel(Random& random, std::size_t map, const Style& style) {
  const auto along_x = axis_taps((map & 1u) != 0, kErrorX, style);
  const auto along_y = axis_taps((map & 2u) != 0, kErrorY, style);
  Kernel kernel{};
  for (std::size_t r = 0; r < kTaps; ++r) {
    for (std::size_t s = 0; s < kTaps; ++s) {
      kernel[r][s] = along_y[r] * along_x[s] + draw(random, -kTapJitter, kTapJitter);
    }
  }
  return kernel;
}

void inject_noise(Canvas& map, Random& random) {
  for (float& value : map.rgb) value += kFeatureNoise * byte_noise(random);
}

// out += transposed convolution (stride 2, kernel 4x4, one row and column cut at each border) of
// `map`. Border features repeat outwards.
void add_transposed_conv(Canvas& out, const Canvas& map, const Kernel& kernel) {
  const Index last = map.size - 1;
  for (Index y = 0; y < out.size; ++y) {
    // Even rows see taps 1 and 3 (feature y/2 and the one above), odd rows taps 2 and 0 (below).
    const Index odd_y = y & 1, near_y = y / 2;
    const Index far_y = std::clamp(near_y + (odd_y != 0 ? 1 : -1), Index{0}, last);
    const auto& near_row = kernel[odd_y != 0 ? 2 : 1];
    const auto& far_row = kernel[odd_y != 0 ? 0 : 3];
    for (Index x = 0; x < out.size; ++x) {
      const Index odd_x = x & 1, near_x = x / 2;
      const Index far_x = std::clamp(near_x + (odd_x != 0 ? 1 : -1), Index{0}, last);
      const std::size_t near_tap = odd_x != 0 ? 2 : 1, far_tap = odd_x != 0 ? 0 : 3;
      const float* near_near = map.at(near_y, near_x);
      const float* near_far = map.at(near_y, far_x);
      const float* far_near = map.at(far_y, near_x);
      const float* far_far = map.at(far_y, far_x);
      float* p = out.at(y, x);
      for (Index c = 0; c < 3; ++c) {
        p[c] += near_row[near_tap] * near_near[c] + near_row[far_tap] * near_far[c] +
                far_row[near_tap] * far_near[c] + far_row[far_tap] * far_far[c];
      }
    }
  }
}

Canvas decode(const Canvas& picture, int stages, Random& random) {
  if (stages == 0) return picture;
  Maps maps = analyse(picture);
  maps[0] = decode(maps[0], stages - 1, random);
  Style style{};
  style.error = draw(random, kStyleLow, kStyleHigh);
  style.overlap = draw(random, 0.0, 0.06);
  style.detail = draw(random, kDetailLow, kDetailHigh);
  Canvas out(picture.size);
  for (std::size_t map = 0; map < maps.size(); ++map) {
    inject_noise(maps[map], random);
    add_transposed_conv(out, maps[map], draw_kernel(random, map, style));
  }
  return out;
}

struct Moments {
  double mean, variance;
};

Moments channel_moments(const Canvas& picture, std::size_t channel) {
  double sum = 0, squares = 0;
  for (std::size_t i = channel; i < picture.rgb.size(); i += 3) {
    const double value = picture.rgb[i];
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(picture.size * picture.size);
  const double mean = sum / count;
  return {mean, std::max(0.0, squares / count - mean * mean)};
}

}  // namespace

Canvas pass_through_decoder(const Canvas& picture, Random& random) {
  return decode(picture, kStages, random);
}

void match_mean_variance(Canvas& picture, const Canvas& reference) {
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const Moments from = channel_moments(picture, channel);
    const Moments to = channel_moments(reference, channel);
    const double scale = from.variance > 0 ? std::sqrt(to.variance / from.variance) : 1.0;
    for (std::size_t i = channel; i < picture.rgb.size(); i += 3) {
      picture.rgb[i] = static_cast<float>(to.mean + scale * (picture.rgb[i] - from.mean));
    }
  }
}

}  // namespace dfengine
