// What the painter of synthetic faces draws on and with: a float picture, colours, a tilted
// coordinate frame, soft-edged fills and value noise.
//
// All of it uses only +, -, *, / and sqrt, which IEEE 754 rounds alike everywhere, and no call of
// libm, whose last bit differs between machines.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/base/random.h"
#include "kernels/base/shape.h"

namespace dfengine {

// Display values (gamma-coded), from 0 for black to 1 for white.
struct Colour {
  float r = 0, g = 0, b = 0;
};

constexpr Colour operator*(Colour c, float f) {
  return {c.r * f, c.g * f, c.b * f};
}

constexpr Colour mix(Colour a, Colour b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

// A square RGB picture, rows from the top, channels interleaved: rgb[(y * size + x) * 3 + c].
struct Canvas {
  explicit Canvas(Index side) : size(side), rgb(static_cast<std::size_t>(side * side * 3)) {}
  float* at(Index y, Index x) { return rgb.data() + (y * size + x) * 3; }
  const float* at(Index y, Index x) const { return rgb.data() + (y * size + x) * 3; }

  Index size;
  std::vector<float> rgb;
};

// Uniform in [low, high) as float.
inline float draw(Random& random, double low, double high) {
  return static_cast<float>(random.uniform(low, high));
}

// True with the given probability.
inline bool chance(Random& random, double probability) {
  return random.uniform() < probability;
}

// A nearly normal number of zero mean and unit variance: the sum of the four bytes of one word
// (Irwin-Hall).
inline float byte_noise(Random& random) {
  const std::uint32_t word = random.bits();
  const std::uint32_t sum =
      (word & 255u) + ((word >> 8) & 255u) + ((word >> 16) & 255u) + (word >> 24);
  constexpr float kMean = 510.0f;
  constexpr float kScale = 1.0f / 147.80054f;  // sqrt(4 * (256^2 - 1) / 12)
  return (static_cast<float>(sum) - kMean) * kScale;
}

// A smooth hill, which is 1 at t = 0 and 0 where |t| >= 1.
constexpr float bump(float t) {
  const float s = 1.0f - t * t;
  return s > 0 ? s * s : 0.0f;
}

// A smooth random field, from about -1 to 1, that repeats after kPeriod lattice cells.
class ValueNoise {
 public:
  explicit ValueNoise(Random& random);
  // One octave at lattice position (u, v), with |u| and |v| below 4096.
  float at(float u, float v) const;
  // The sum of `octaves` octaves, each twice as fine and half as strong as the one before.
  float layered(float u, float v, int octaves) const;

 private:
  static constexpr int kPeriod = 32;
  std::array<float, kPeriod * kPeriod> lattice_;
};

// Draws in local coordinates (u right, v down). Their origin is `centre` in pixels, one unit has
// `scale` pixels, and local right points to (cosine, sine).
class Brush {
 public:
  struct Frame {
    float centre_x, centre_y, scale, cosine, sine;
  };
  struct Box {
    float left, top, right, bottom;
  };

  Brush(Canvas& canvas, const Frame& frame) : canvas_(canvas), frame_(frame) {}

  // The opacity at a shape's edge by the signed distance, in local units and negative inside.
  float cover(float distance) const {
    return std::clamp(0.5f - distance * frame_.scale, 0.0f, 1.0f);
  }
  // The same for an edge that is blurred over `width` local units.
  static float soft_cover(float distance, float width) {
    return std::clamp(0.5f - distance / width, 0.0f, 1.0f);
  }

  // Blends colour(u, v) over the pixels inside `box` with opacity alpha(u, v).
  template <class Alpha, class Paint>
  void fill(const Box& box, Alpha alpha, Paint paint);

 private:
  Canvas& canvas_;
  Frame frame_;
};

// The signed distance to the ellipse (u/a)^2 + (v/b)^2 = 1, to first order.
inline float ellipse_distance(float u, float v, float a, float b) {
  const float p = u / (a * a), q = v / (b * b);
  return (u * p + v * q - 1.0f) / (2.0f * std::sqrt(p * p + q * q) + 1e-6f);
}

template <class Alpha, class Paint>
void Brush::fill(const Box& box, Alpha alpha, Paint paint) {
  const float half_u = 0.5f * (box.right - box.left), half_v = 0.5f * (box.bottom - box.top);
  const float mid_u = box.left + half_u, mid_v = box.top + half_v;
  const float mid_x =
      frame_.centre_x + frame_.scale * (mid_u * frame_.cosine - mid_v * frame_.sine);
  const float mid_y =
      frame_.centre_y + frame_.scale * (mid_u * frame_.sine + mid_v * frame_.cosine);
  const float c = std::abs(frame_.cosine), s = std::abs(frame_.sine);
  const float reach_x = frame_.scale * (half_u * c + half_v * s) + 1.0f;
  const float reach_y = frame_.scale * (half_u * s + half_v * c) + 1.0f;
  const auto pixel = [&](float position) {
    return static_cast<Index>(std::clamp(position, 0.0f, static_cast<float>(canvas_.size)));
  };
  const float step = 1.0f / frame_.scale;
  for (Index y = pixel(mid_y - reach_y); y < pixel(mid_y + reach_y); ++y) {
    for (Index x = pixel(mid_x - reach_x); x < pixel(mid_x + reach_x); ++x) {
      const float dx = (static_cast<float>(x) + 0.5f - frame_.centre_x) * step;
      const float dy = (static_cast<float>(y) + 0.5f - frame_.centre_y) * step;
      const float u = dx * frame_.cosine + dy * frame_.sine;
      const float v = dy * frame_.cosine - dx * frame_.sine;
      const float opacity = alpha(u, v);
      if (opacity <= 0) continue;
      const Colour colour = paint(u, v);
      float* p = canvas_.at(y, x);
      p[0] += (colour.r - p[0]) * opacity;
      p[1] += (colour.g - p[1]) * opacity;
      p[2] += (colour.b - p[2]) * opacity;
    }
  }
}

}  // namespace dfengine
