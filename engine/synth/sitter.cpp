// Draws the traits of a synthetic sitter.
#include "engine/synth/sitter.h"

namespace dfengine {
namespace {

constexpr Colour kSkins[] = {{0.97f, 0.83f, 0.74f}, {0.92f, 0.74f, 0.61f}, {0.84f, 0.64f, 0.49f},
                             {0.70f, 0.49f, 0.35f}, {0.53f, 0.35f, 0.24f}, {0.38f, 0.25f, 0.18f}};
constexpr Colour kHairs[] = {{0.08f, 0.07f, 0.07f}, {0.14f, 0.10f, 0.08f}, {0.25f, 0.16f, 0.10f},
                             {0.38f, 0.25f, 0.15f}, {0.55f, 0.27f, 0.13f}, {0.80f, 0.65f, 0.38f},
                             {0.66f, 0.50f, 0.30f}, {0.62f, 0.61f, 0.60f}, {0.45f, 0.20f, 0.42f}};
constexpr Colour kIrises[] = {{0.25f, 0.15f, 0.08f}, {0.38f, 0.24f, 0.12f}, {0.30f, 0.40f, 0.22f},
                              {0.28f, 0.45f, 0.62f}, {0.42f, 0.48f, 0.52f}, {0.15f, 0.10f, 0.07f}};

template <std::size_t kCount>
Colour pick(Random& random, const Colour (&palette)[kCount]) {
  return palette[random.below(static_cast<std::uint32_t>(kCount))];
}

Colour jitter(Random& random, Colour c, double amount) {
  const float value = draw(random, 1 - amount, 1 + amount);
  const auto shift = [&] { return value * draw(random, 1 - 0.3 * amount, 1 + 0.3 * amount); };
  return {c.r * shift(), c.g * shift(), c.b * shift()};
}

struct Range {
  double low, high;
};

// A colour of any hue; saturation 0 is grey.
Colour any_colour(Random& random, Range values, Range saturations) {
  const float value = draw(random, values.low, values.high);
  const float saturation = draw(random, saturations.low, saturations.high);
  const float hue = draw(random, 0, 6);
  const auto channel = [&](float offset) {
    float t = hue + offset;
    if (t >= 6.0f) t -= 6.0f;
    const float ramp = std::clamp(std::abs(t - 3.0f) - 1.0f, 0.0f, 1.0f);
    return value * (1.0f - saturation * (1.0f - ramp));
  };
  return {channel(0.0f), channel(4.0f), channel(2.0f)};
}

void draw_colours(Random& random, Sitter& s) {
  const std::uint32_t tone = random.below(std::size(kSkins) - 1);
  s.skin = jitter(random, mix(kSkins[tone], kSkins[tone + 1], draw(random, 0, 1)), 0.05);
  s.hair = jitter(random, pick(random, kHairs), 0.2);
  s.iris = jitter(random, pick(random, kIrises), 0.15);
  s.lipstick = chance(random, 0.3);
  const Colour natural = mix(s.skin, Colour{0.70f, 0.25f, 0.25f}, 0.45f);
  s.lips = s.lipstick ? jitter(random, Colour{0.68f, 0.13f, 0.20f}, 0.2) : natural * 0.92f;
  s.shirt = any_colour(random, {0.15, 0.9}, {0.0, 0.7});
  s.shirt_stripe = any_colour(random, {0.2, 0.9}, {0.0, 0.6});
  s.hat = any_colour(random, {0.2, 0.8}, {0.1, 0.8});
  s.backdrop_a = any_colour(random, {0.25, 0.95}, {0.05, 0.55});
  s.backdrop_b = any_colour(random, {0.10, 0.80}, {0.05, 0.55});
}

void draw_features(Random& random, Sitter& s) {
  s.width = draw(random, 0.70, 0.84);
  s.taper = draw(random, 0.08, 0.30);
  s.turn = draw(random, -0.12, 0.12);
  s.eye_x = draw(random, 0.28, 0.35);
  s.eye_y = draw(random, -0.08, 0.04);
  s.eye_w = draw(random, 0.14, 0.185);
  s.eye_h = draw(random, 0.05, 0.105);
  s.gaze_u = draw(random, -0.3, 0.3);
  s.gaze_v = draw(random, -0.08, 0.08);
  s.brow_gap = draw(random, 0.14, 0.22);
  s.brow_thick = draw(random, 0.018, 0.05);
  s.brow_arch = draw(random, 0.01, 0.08);
  s.brow_tilt = draw(random, -0.05, 0.05);
  s.nose_length = draw(random, 0.34, 0.48);
  s.nose_width = draw(random, 0.10, 0.17);
  s.mouth_y = draw(random, 0.56, 0.66);
  s.mouth_w = draw(random, 0.20, 0.34);
  s.smile = draw(random, -0.02, 0.11);
  s.lip = draw(random, 0.03, 0.075);
  s.gape = chance(random, 0.4) ? draw(random, 0.03, 0.13) : 0.0f;
  s.beard = !s.lipstick && chance(random, 0.3) ? draw(random, 0.25, 0.95) : 0.0f;
  s.blush = draw(random, 0.0, 0.35);
  s.freckles = chance(random, 0.2) ? draw(random, 0.1, 0.3) : 0.0f;
  s.glasses = chance(random, 0.22);
}

void draw_light(Random& random, Sitter& s) {
  s.light_u = draw(random, -0.65, 0.65);
  s.light_v = draw(random, -0.6, -0.05);
  s.light_z = std::sqrt(1.0f - s.light_u * s.light_u - s.light_v * s.light_v);
  s.ambient = draw(random, 0.35, 0.65);
  s.exposure = draw(random, 0.80, 1.12);
  const float warmth = draw(random, -0.08, 0.08);
  s.tint = {1.0f + warmth, 1.0f + draw(random, -0.02, 0.02), 1.0f - warmth};
}

}  // namespace

Sitter draw_sitter(Random& random) {
  Sitter s{};
  draw_colours(random, s);
  draw_features(random, s);
  constexpr Hair kStyles[] = {Hair::Short, Hair::Short, Hair::Short, Hair::Long, Hair::Long,
                              Hair::Long,  Hair::Curly, Hair::Bun,   Hair::Bald, Hair::Beanie};
  s.style = kStyles[random.below(std::size(kStyles))];
  s.hairline = draw(random, -0.72, -0.48);
  s.fringe = draw(random, -0.5, 0.9);
  s.strands = draw(random, 0.25, 0.6);
  s.backdrop = static_cast<Backdrop>(random.below(4));
  s.stripes = chance(random, 0.3);
  draw_light(random, s);
  return s;
}

}  // namespace dfengine
