// Paints a sitter from the back to the front: backdrop, back hair, body, head, features, hair.
#include "engine/synth/portrait.h"

namespace dfengine {
namespace {

Brush::Frame draw_frame(Random& random, Index size) {
  const auto side = static_cast<double>(size);
  Brush::Frame frame{};
  frame.scale = draw(random, 0.31 * side, 0.38 * side);
  frame.centre_x = draw(random, 0.46 * side, 0.54 * side);
  frame.centre_y = draw(random, 0.48 * side, 0.54 * side);
  frame.sine = draw(random, -0.16, 0.16);
  frame.cosine = std::sqrt(1.0f - frame.sine * frame.sine);
  return frame;
}

}  // namespace

Portrait::Portrait(Canvas& canvas, Random& random)
    : canvas_(canvas),
      random_(random),
      sitter_(draw_sitter(random)),
      noise_(random),
      brush_(canvas, draw_frame(random, canvas.size)) {}

void Portrait::paint() {
  backdrop();
  if (sitter_.backdrop == Backdrop::Lights) lights();
  back_hair();
  neck();
  body();
  ears();
  head();
  if (sitter_.beard > 0) beard();
  for (const float side : {-1.0f, 1.0f}) {
    eye(side);
    brow(side);
  }
  nose();
  mouth();
  front_hair();
  if (sitter_.glasses) glasses();
  grade();
}

float Portrait::head_distance(float u, float v, float grow) const {
  const float low = std::max(v, 0.0f);
  const float width = (sitter_.width + grow) * (1.0f - sitter_.taper * low * low);
  return ellipse_distance(u, v, width, 1.0f + grow);
}

float Portrait::shade(float u, float v) const {
  const float nu = u / sitter_.width;
  const float nz = std::sqrt(std::max(0.0f, 1.0f - nu * nu - v * v));
  const float lambert =
      std::max(0.0f, nu * sitter_.light_u + v * sitter_.light_v + nz * sitter_.light_z);
  return sitter_.ambient + (1.08f - sitter_.ambient) * lambert;
}

Colour Portrait::hair_at(float u, float v) const {
  // Strands fan out from above the crown; curls have no direction.
  const bool curly = sitter_.style == Hair::Curly;
  const float along = curly ? noise_.layered(u * 9.0f, v * 9.0f, 3)
                            : noise_.layered(u / (v + 2.2f) * 34.0f, v * 1.6f, 3);
  const float gloss = bump((v + 0.75f + 0.3f * sitter_.light_u * u) * 2.8f) * 0.35f;
  const float light = 0.78f + 0.3f * sitter_.light_u * u + gloss;
  return sitter_.hair * std::max(0.2f, light + sitter_.strands * along);
}

void Portrait::backdrop() {
  const float across = draw(random_, -1, 1);
  const float down = std::sqrt(1.0f - across * across);
  const float horizon = draw(random_, -0.2, 0.9);
  const float grain = draw(random_, 0.02, 0.10);
  const float period = draw(random_, 1.5, 4.0);
  brush_.fill(
      {-4, -4, 4, 4}, [](float, float) { return 1.0f; },
      [&](float u, float v) {
        float t = 0.5f + 0.22f * (u * across + v * down);
        const float rough = noise_.layered(u * 2.0f, v * 2.0f, 5);
        if (sitter_.backdrop == Backdrop::Leaves) {
          t = 0.5f + 1.1f * noise_.layered(u * period, v * period, 5);
        } else if (sitter_.backdrop == Backdrop::Room) {
          const float wall = u + 0.15f * v - across;
          t = 0.3f * t + 0.7f * (0.6f * Brush::soft_cover(wall, 0.08f) +
                                 0.4f * Brush::soft_cover(v - horizon, 0.05f));
        }
        return mix(sitter_.backdrop_a, sitter_.backdrop_b, std::clamp(t, 0.0f, 1.0f)) *
               (1.0f + grain * rough);
      });
}

void Portrait::lights() {
  const std::uint32_t count = 6 + random_.below(10);
  for (std::uint32_t i = 0; i < count; ++i) {
    const float cu = draw(random_, -1.6, 1.6), cv = draw(random_, -1.6, 1.6);
    const float radius = draw(random_, 0.08, 0.30), strength = draw(random_, 0.15, 0.6);
    const Colour colour =
        mix(sitter_.backdrop_a, Colour{1.0f, 0.92f, 0.75f}, draw(random_, 0.2, 0.9));
    brush_.fill(
        {cu - radius, cv - radius, cu + radius, cv + radius},
        [&](float u, float v) {
          return strength *
                 Brush::soft_cover(ellipse_distance(u - cu, v - cv, radius, radius), 0.08f);
        },
        [&](float, float) { return colour; });
  }
}

void Portrait::back_hair() {
  if (sitter_.style == Hair::Bun) {
    const float cu = draw(random_, -0.25, 0.25);
    brush_.fill(
        {cu - 0.5f, -1.7f, cu + 0.5f, -0.7f},
        [&](float u, float v) {
          return brush_.cover(ellipse_distance(u - cu, v + 1.15f, 0.36f, 0.32f));
        },
        [&](float u, float v) { return hair_at(u, v); });
  }
  if (sitter_.style == Hair::Curly) {
    const float puff = draw(random_, 0.18, 0.42);
    brush_.fill(
        {-1.5f, -1.7f, 1.5f, 1.0f},
        [&](float u, float v) {
          const float edge = 0.10f * noise_.layered(u * 5.0f, v * 5.0f, 2);
          return brush_.cover(
              ellipse_distance(u, v + 0.3f, sitter_.width + puff + edge, 0.9f + puff + edge));
        },
        [&](float u, float v) { return hair_at(u, v) * 0.85f; });
  }
  if (sitter_.style == Hair::Long) {
    const float end = draw(random_, 0.7, 1.7), flare = draw(random_, 0.0, 0.25);
    brush_.fill(
        {-1.5f, -1.3f, 1.5f, end + 0.2f},
        [&](float u, float v) {
          const float top = ellipse_distance(u, v, sitter_.width + 0.16f, 1.12f);
          const float width = sitter_.width + 0.14f + flare * std::max(0.0f, v);
          const float ends = end + 0.12f * noise_.at(u * 6.0f, 0.5f);
          const float side = std::max({std::abs(u) - width, v - ends, -v});
          return brush_.cover(std::min(top, side));
        },
        [&](float u, float v) { return hair_at(u, v) * 0.72f; });
  }
}

void Portrait::neck() {
  const float width = 0.36f * sitter_.width / 0.77f;
  brush_.fill(
      {-0.6f, 0.4f, 0.6f, 1.7f},
      [&](float u, float v) {
        const float flare = 0.25f * std::max(0.0f, v - 1.1f);
        return brush_.cover(std::abs(u) - width - flare);
      },
      [&](float u, float v) {
        const float under_chin = 0.28f * bump((v - 0.95f) / 0.45f);
        const float side = 0.25f * (u * sitter_.light_u / width);
        return sitter_.skin * (0.82f * (0.9f + side) - under_chin);
      });
}

void Portrait::body() {
  const float shoulders = draw(random_, 1.25, 1.6), collar = draw(random_, 1.28, 1.5);
  const float notch = draw(random_, 0.0, 0.9);
  const float period = draw(random_, 3.0, 8.0);
  brush_.fill(
      {-2.2f, 1.0f, 2.2f, 3.0f},
      [&](float u, float v) {
        const float outside = ellipse_distance(u, v - 2.35f, shoulders, 1.15f);
        const float opening = collar - v + 0.6f * notch * (0.5f - std::abs(u));
        return brush_.cover(std::max(outside, std::abs(u) < 0.55f ? opening : -1.0f));
      },
      [&](float u, float v) {
        const float fold = noise_.layered(u * 2.5f, v * 1.2f, 4);
        const float stripe = sitter_.stripes ? noise_.at(0.5f, v * period) : -1.0f;
        const Colour cloth = stripe > 0 ? sitter_.shirt_stripe : sitter_.shirt;
        return cloth * (0.85f + 0.25f * fold + 0.2f * u * sitter_.light_u);
      });
}

void Portrait::ears() {
  for (const float side : {-1.0f, 1.0f}) {
    const float cu = side * (sitter_.width + 0.01f) + 0.5f * slide(1);
    brush_.fill(
        {cu - 0.2f, -0.2f, cu + 0.2f, 0.4f},
        [&](float u, float v) {
          return brush_.cover(ellipse_distance(u - cu, v - 0.1f, 0.11f, 0.2f));
        },
        [&](float u, float v) {
          const float hollow = 0.2f * bump(8.0f * (u - cu)) * bump(6.0f * (v - 0.1f));
          return mix(sitter_.skin, Colour{0.75f, 0.3f, 0.25f}, 0.1f) *
                 (0.85f + 0.2f * side * sitter_.light_u - hollow);
        });
  }
}

void Portrait::head() {
  const Colour rosy = mix(sitter_.skin, Colour{0.85f, 0.32f, 0.30f}, 0.5f);
  const float eyes = sitter_.eye_x, cheek = sitter_.eye_y + 0.42f;
  brush_.fill(
      kHeadBox, [&](float u, float v) { return brush_.cover(head_distance(u, v, 0)); },
      [&](float u, float v) {
        const float x = u - slide(1), mirror = std::abs(x);
        float light = shade(u, v);
        // Sockets under the brows, a shadow below the lip, a shine on the forehead.
        light -= 0.16f * bump((mirror - eyes) / 0.26f) * bump((v - sitter_.eye_y + 0.04f) / 0.2f);
        light -= 0.14f * bump(x / 0.2f) * bump((v - sitter_.mouth_y - 0.16f) / 0.08f);
        light += 0.08f * bump((x - 0.3f * sitter_.light_u) / 0.4f) * bump((v + 0.45f) / 0.3f);
        light += 0.05f * noise_.layered(u * 7.0f, v * 7.0f, 4);
        const float spots = noise_.at(u * 26.0f, v * 26.0f);
        if (spots > 0.45f) light -= sitter_.freckles * bump(x / 0.6f) * bump((v - 0.2f) / 0.3f);
        const float blush =
            sitter_.blush * bump((mirror - eyes - 0.08f) / 0.3f) * bump((v - cheek) / 0.28f);
        return mix(sitter_.skin, rosy, blush) * light;
      });
}

void Portrait::front_hair() {
  if (sitter_.style == Hair::Bald) return;
  if (sitter_.style == Hair::Beanie) return beanie();
  const float parting = draw(random_, -0.4, 0.4);
  const float volume = sitter_.style == Hair::Short ? draw(random_, 0.05, 0.18) : 0.13f;
  const float temple = sitter_.style == Hair::Short ? draw(random_, 0.0, 0.25) : 0.55f;
  brush_.fill(
      {-1.3f, -1.5f, 1.3f, 0.9f},
      [&](float u, float v) {
        const float x = (u - slide(1) - parting) / sitter_.width;
        const float side = std::max(0.0f, std::abs(u - 0.5f * slide(1)) / sitter_.width - 0.72f);
        const float line = sitter_.hairline + 0.45f * sitter_.fringe * x * x +
                           6.0f * side * temple + 0.16f * noise_.layered(u * 7.0f, 0.5f, 2);
        const float outer = ellipse_distance(u, v + 0.04f, sitter_.width + volume, 1.0f + volume);
        return Brush::soft_cover(v - line, 0.07f) * brush_.cover(outer);
      },
      [&](float u, float v) { return hair_at(u, v); });
}

void Portrait::beanie() {
  const float brim = draw(random_, -0.62, -0.42);
  brush_.fill(
      {-1.3f, -1.6f, 1.3f, 0.0f},
      [&](float u, float v) {
        const float outer = ellipse_distance(u, v + 0.1f, sitter_.width + 0.13f, 1.08f);
        return brush_.cover(std::max(outer, v - brim - 0.08f * u * u));
      },
      [&](float u, float v) {
        const float rib = noise_.at(u * 16.0f, 0.5f);
        const float band = v > brim - 0.22f ? 1.15f : 0.95f;
        return sitter_.hat * (band * (0.85f + 0.3f * sitter_.light_u * u) + 0.22f * rib);
      });
}

// The light's colour, the exposure and a lens' darker corners.

void Portrait::grade() {
  const float fall = draw(random_, 0.0, 0.25);
  const float half = 0.5f * static_cast<float>(canvas_.size);
  for (Index y = 0; y < canvas_.size; ++y) {
    for (Index x = 0; x < canvas_.size; ++x) {
      const float dx = (static_cast<float>(x) + 0.5f) / half - 1.0f;
      const float dy = (static_cast<float>(y) + 0.5f) / half - 1.0f;
      const float gain = sitter_.exposure * (1.0f - 0.5f * fall * (dx * dx + dy * dy));
      float* p = canvas_.at(y, x);
      p[0] = std::clamp(p[0] * gain * sitter_.tint.r, 0.0f, 1.0f);
      p[1] = std::clamp(p[1] * gain * sitter_.tint.g, 0.0f, 1.0f);
      p[2] = std::clamp(p[2] * gain * sitter_.tint.b, 0.0f, 1.0f);
    }
  }
}

Canvas paint_face(Random& random, Index size) {
  Canvas canvas(size);
  Portrait(canvas, random).paint();
  return canvas;
}

}  // namespace dfengine
