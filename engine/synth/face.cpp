// Paints a sitter from the back to the front: backdrop, back hair, body, head, features, hair.
#include "engine/synth/face.h"

#include "engine/synth/sitter.h"

namespace dfengine {
namespace {

class Portrait {
 public:
  Portrait(Canvas& canvas, Random& random);
  void paint();

 private:
  static Brush::Frame draw_frame(Random& random, Index size);

  void backdrop();
  void lights();
  void back_hair();
  void body();
  void neck();
  void ears();
  void head();
  void beard();
  void nose();
  void mouth();
  void eye(float side);
  void brow(float side);
  void front_hair();
  void beanie();
  void glasses();
  void grade();

  // Signed distance to the head's outline grown by `grow`.
  float head_distance(float u, float v, float grow) const;
  // Light falling on the head, taken as an ellipsoid.
  float shade(float u, float v) const;
  Colour hair_at(float u, float v) const;
  // Features slide towards where the head is turned; `depth` 1 on the face, more on the nose.
  float slide(float depth) const { return s_.turn * depth; }

  Canvas& canvas_;
  Random& random_;
  Sitter s_;
  ValueNoise noise_;
  Brush brush_;
};

constexpr Brush::Box kHeadBox = {-1.3f, -1.6f, 1.3f, 1.3f};

Brush::Frame Portrait::draw_frame(Random& random, Index size) {
  const auto side = static_cast<double>(size);
  Brush::Frame frame{};
  frame.scale = draw(random, 0.31 * side, 0.38 * side);
  frame.centre_x = draw(random, 0.46 * side, 0.54 * side);
  frame.centre_y = draw(random, 0.48 * side, 0.54 * side);
  frame.sine = draw(random, -0.16, 0.16);
  frame.cosine = std::sqrt(1.0f - frame.sine * frame.sine);
  return frame;
}

Portrait::Portrait(Canvas& canvas, Random& random)
    : canvas_(canvas),
      random_(random),
      s_(draw_sitter(random)),
      noise_(random),
      brush_(canvas, draw_frame(random, canvas.size)) {}

void Portrait::paint() {
  backdrop();
  if (s_.backdrop == Backdrop::Lights) lights();
  back_hair();
  neck();
  body();
  ears();
  head();
  if (s_.beard > 0) beard();
  for (const float side : {-1.0f, 1.0f}) {
    eye(side);
    brow(side);
  }
  nose();
  mouth();
  front_hair();
  if (s_.glasses) glasses();
  grade();
}

float Portrait::head_distance(float u, float v, float grow) const {
  const float low = std::max(v, 0.0f);
  const float width = (s_.width + grow) * (1.0f - s_.taper * low * low);
  return ellipse_distance(u, v, width, 1.0f + grow);
}

float Portrait::shade(float u, float v) const {
  const float nu = u / s_.width;
  const float nz = std::sqrt(std::max(0.0f, 1.0f - nu * nu - v * v));
  const float lambert = std::max(0.0f, nu * s_.light_u + v * s_.light_v + nz * s_.light_z);
  return s_.ambient + (1.08f - s_.ambient) * lambert;
}

Colour Portrait::hair_at(float u, float v) const {
  // Strands fan out from above the crown; curls have no direction.
  const bool curly = s_.style == Hair::Curly;
  const float along = curly ? noise_.layered(u * 9.0f, v * 9.0f, 3)
                            : noise_.layered(u / (v + 2.2f) * 34.0f, v * 1.6f, 3);
  const float gloss = bump((v + 0.75f + 0.3f * s_.light_u * u) * 2.8f) * 0.35f;
  const float light = 0.78f + 0.3f * s_.light_u * u + gloss;
  return s_.hair * std::max(0.2f, light + s_.strands * along);
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
        if (s_.backdrop == Backdrop::Leaves) {
          t = 0.5f + 1.1f * noise_.layered(u * period, v * period, 5);
        } else if (s_.backdrop == Backdrop::Room) {
          const float wall = u + 0.15f * v - across;
          t = 0.3f * t + 0.7f * (0.6f * Brush::soft_cover(wall, 0.08f) +
                                 0.4f * Brush::soft_cover(v - horizon, 0.05f));
        }
        return mix(s_.backdrop_a, s_.backdrop_b, std::clamp(t, 0.0f, 1.0f)) *
               (1.0f + grain * rough);
      });
}

void Portrait::lights() {
  const std::uint32_t count = 6 + random_.below(10);
  for (std::uint32_t i = 0; i < count; ++i) {
    const float cu = draw(random_, -1.6, 1.6), cv = draw(random_, -1.6, 1.6);
    const float radius = draw(random_, 0.08, 0.30), strength = draw(random_, 0.15, 0.6);
    const Colour colour = mix(s_.backdrop_a, Colour{1.0f, 0.92f, 0.75f}, draw(random_, 0.2, 0.9));
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
  if (s_.style == Hair::Bun) {
    const float cu = draw(random_, -0.25, 0.25);
    brush_.fill(
        {cu - 0.5f, -1.7f, cu + 0.5f, -0.7f},
        [&](float u, float v) {
          return brush_.cover(ellipse_distance(u - cu, v + 1.15f, 0.36f, 0.32f));
        },
        [&](float u, float v) { return hair_at(u, v); });
  }
  if (s_.style == Hair::Curly) {
    const float puff = draw(random_, 0.18, 0.42);
    brush_.fill(
        {-1.5f, -1.7f, 1.5f, 1.0f},
        [&](float u, float v) {
          const float edge = 0.10f * noise_.layered(u * 5.0f, v * 5.0f, 2);
          return brush_.cover(
              ellipse_distance(u, v + 0.3f, s_.width + puff + edge, 0.9f + puff + edge));
        },
        [&](float u, float v) { return hair_at(u, v) * 0.85f; });
  }
  if (s_.style == Hair::Long) {
    const float end = draw(random_, 0.7, 1.7), flare = draw(random_, 0.0, 0.25);
    brush_.fill(
        {-1.5f, -1.3f, 1.5f, end + 0.2f},
        [&](float u, float v) {
          const float top = ellipse_distance(u, v, s_.width + 0.16f, 1.12f);
          const float width = s_.width + 0.14f + flare * std::max(0.0f, v);
          const float ends = end + 0.12f * noise_.at(u * 6.0f, 0.5f);
          const float side = std::max({std::abs(u) - width, v - ends, -v});
          return brush_.cover(std::min(top, side));
        },
        [&](float u, float v) { return hair_at(u, v) * 0.72f; });
  }
}

void Portrait::neck() {
  const float width = 0.36f * s_.width / 0.77f;
  brush_.fill(
      {-0.6f, 0.4f, 0.6f, 1.7f},
      [&](float u, float v) {
        const float flare = 0.25f * std::max(0.0f, v - 1.1f);
        return brush_.cover(std::abs(u) - width - flare);
      },
      [&](float u, float v) {
        const float under_chin = 0.28f * bump((v - 0.95f) / 0.45f);
        const float side = 0.25f * (u * s_.light_u / width);
        return s_.skin * (0.82f * (0.9f + side) - under_chin);
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
        const float stripe = s_.stripes ? noise_.at(0.5f, v * period) : -1.0f;
        const Colour cloth = stripe > 0 ? s_.shirt_stripe : s_.shirt;
        return cloth * (0.85f + 0.25f * fold + 0.2f * u * s_.light_u);
      });
}

void Portrait::ears() {
  for (const float side : {-1.0f, 1.0f}) {
    const float cu = side * (s_.width + 0.01f) + 0.5f * slide(1);
    brush_.fill(
        {cu - 0.2f, -0.2f, cu + 0.2f, 0.4f},
        [&](float u, float v) {
          return brush_.cover(ellipse_distance(u - cu, v - 0.1f, 0.11f, 0.2f));
        },
        [&](float u, float v) {
          const float hollow = 0.2f * bump(8.0f * (u - cu)) * bump(6.0f * (v - 0.1f));
          return mix(s_.skin, Colour{0.75f, 0.3f, 0.25f}, 0.1f) *
                 (0.85f + 0.2f * side * s_.light_u - hollow);
        });
  }
}

void Portrait::head() {
  const Colour rosy = mix(s_.skin, Colour{0.85f, 0.32f, 0.30f}, 0.5f);
  const float eyes = s_.eye_x, cheek = s_.eye_y + 0.42f;
  brush_.fill(
      kHeadBox, [&](float u, float v) { return brush_.cover(head_distance(u, v, 0)); },
      [&](float u, float v) {
        const float x = u - slide(1), mirror = std::abs(x);
        float light = shade(u, v);
        // Sockets under the brows, a shadow below the lip, a shine on the forehead.
        light -= 0.16f * bump((mirror - eyes) / 0.26f) * bump((v - s_.eye_y + 0.04f) / 0.2f);
        light -= 0.14f * bump(x / 0.2f) * bump((v - s_.mouth_y - 0.16f) / 0.08f);
        light += 0.08f * bump((x - 0.3f * s_.light_u) / 0.4f) * bump((v + 0.45f) / 0.3f);
        light += 0.05f * noise_.layered(u * 7.0f, v * 7.0f, 4);
        const float spots = noise_.at(u * 26.0f, v * 26.0f);
        if (spots > 0.45f) light -= s_.freckles * bump(x / 0.6f) * bump((v - 0.2f) / 0.3f);
        const float blush =
            s_.blush * bump((mirror - eyes - 0.08f) / 0.3f) * bump((v - cheek) / 0.28f);
        return mix(s_.skin, rosy, blush) * light;
      });
}

void Portrait::beard() {
  const float upper = s_.mouth_y - 0.14f, sides = draw(random_, 0.35, 0.75);
  brush_.fill(
      kHeadBox,
      [&](float u, float v) {
        const float x = (u - slide(1)) / s_.width;
        const float edge =
            upper - v - 0.2f + sides * (0.45f - x * x) + 0.1f * noise_.at(u * 8.0f, v * 8.0f);
        const float inside = Brush::soft_cover(edge, 0.14f);
        return s_.beard * inside * brush_.cover(head_distance(u, v, 0.03f));
      },
      [&](float u, float v) {
        return s_.hair * (0.85f + 0.5f * noise_.layered(u * 16.0f, v * 9.0f, 2));
      });
}

void Portrait::eye(float side) {
  const float cu = side * s_.eye_x + slide(1), cv = s_.eye_y;
  const float w = s_.eye_w, h = s_.eye_h, iris = 0.56f * w;
  const float iu = cu + s_.gaze_u * w, iv = cv + s_.gaze_v * w - 0.01f;
  const auto lid = [&](float u) {
    const float t = (u - cu) / w;
    return h * (1.0f - t * t);
  };
  const Brush::Box box = {cu - 1.3f * w, cv - 0.2f, cu + 1.3f * w, cv + 0.2f};
  brush_.fill(
      box, [&](float u, float v) { return brush_.cover(std::abs(v - cv) - lid(u)); },
      [&](float u, float v) {
        const float r = std::sqrt((u - iu) * (u - iu) + (v - iv) * (v - iv));
        const float fall = 0.86f - 0.28f * bump((v - cv + h) / (1.1f * h));
        Colour c = Colour{0.97f, 0.95f, 0.93f} * fall;
        const float ring = 0.75f + 0.5f * bump((r - 0.6f * iris) / (0.5f * iris));
        c = mix(c, s_.iris * ring, brush_.cover(r - iris));
        c = mix(c, Colour{0.04f, 0.03f, 0.03f}, brush_.cover(r - 0.45f * iris));
        const float gu = u - iu - 0.35f * iris * s_.light_u, gv = v - iv + 0.4f * iris;
        return mix(c, Colour{1, 1, 1}, brush_.cover(std::sqrt(gu * gu + gv * gv) - 0.22f * iris));
      });
  const Colour lash = mix(s_.hair * 0.35f, s_.skin, 0.15f);
  brush_.fill(
      box,
      [&](float u, float v) {
        const float upper = std::abs(v - cv + lid(u)) - 0.016f;
        const float crease = std::abs(v - cv + 1.35f * lid(u) + 0.02f) - 0.004f;
        const float within = std::abs(u - cu) - 1.05f * w;
        return std::max(0.85f * brush_.cover(std::max(upper, within)),
                        0.3f * brush_.cover(std::max(crease, within)));
      },
      [&](float, float) { return lash; });
}

void Portrait::brow(float side) {
  const float cu = side * (s_.eye_x + 0.01f) + slide(1), w = s_.eye_w * 1.35f;
  const float cv = s_.eye_y - s_.brow_gap;
  const Colour colour = mix(s_.hair * 0.8f, s_.skin * 0.5f, 0.2f);
  brush_.fill(
      {cu - 1.2f * w, cv - 0.25f, cu + 1.2f * w, cv + 0.2f},
      [&](float u, float v) {
        const float t = (u - cu) / w, outward = t * side;
        const float line = cv - s_.brow_arch * (1.0f - t * t) + s_.brow_tilt * outward;
        const float thick = s_.brow_thick * (1.0f - 0.35f * outward);
        const float hairs = 0.02f * noise_.at(u * 30.0f, v * 20.0f);
        return 0.85f *
               Brush::soft_cover(
                   std::max(std::abs(v - line) - thick + hairs, (std::abs(t) - 1.0f) * w), 0.045f);
      },
      [&](float, float) { return colour; });
}

void Portrait::nose() {
  const float tip_u = slide(1.8f), tip_v = s_.eye_y + s_.nose_length, w = s_.nose_width;
  const auto bridge = [&](float v) {
    const float t = std::clamp((v - s_.eye_y) / s_.nose_length, 0.0f, 1.0f);
    return slide(1) + (tip_u - slide(1)) * t;
  };
  const float shadow_side = s_.light_u > 0 ? -1.0f : 1.0f;
  const Brush::Box box = {tip_u - 0.4f, s_.eye_y - 0.15f, tip_u + 0.4f, tip_v + 0.2f};
  const auto down = [&](float v) {
    return std::clamp((v - s_.eye_y + 0.1f) / s_.nose_length, 0.0f, 1.0f);
  };
  brush_.fill(
      box,
      [&](float u, float v) {
        const float centre = bridge(v) + shadow_side * w * (0.35f + 0.35f * down(v));
        const float side =
            bump((u - centre) / (0.55f * w)) * down(v) * Brush::soft_cover(v - tip_v, 0.1f);
        const float under = bump((u - tip_u) / (1.2f * w)) * bump((v - tip_v - 0.05f) / 0.07f);
        float holes = 0;
        for (const float s : {-1.0f, 1.0f}) {
          holes += Brush::soft_cover(
              ellipse_distance(u - tip_u - s * 0.5f * w, v - tip_v, 0.26f * w, 0.022f), 0.03f);
        }
        return std::min(0.9f, 0.32f * side + 0.35f * under + 0.5f * holes);
      },
      [&](float, float) {
        return mix(s_.skin * 0.38f, Colour{0.3f, 0.1f, 0.06f}, 0.3f);
      });
  brush_.fill(
      box,
      [&](float u, float v) {
        const float ridge = bump((u - bridge(v) + 0.1f * shadow_side * w) / (0.4f * w));
        return 0.22f * ridge * down(v) * Brush::soft_cover(v - tip_v + 0.06f, 0.08f);
      },
      [&](float, float) {
        return mix(s_.skin, Colour{1, 1, 1}, 0.55f);
      });
}

void Portrait::mouth() {
  const float cu = slide(1.2f), w = s_.mouth_w;
  const Brush::Box box = {cu - 1.2f * w, s_.mouth_y - 0.3f, cu + 1.2f * w, s_.mouth_y + 0.3f};
  const auto arc = [&](float u) {
    const float t = (u - cu) / w;
    return std::max(0.0f, 1.0f - t * t);
  };
  // Corners rise by `smile`; the gap hangs below the line between the lips.
  const auto middle = [&](float u) { return s_.mouth_y - s_.smile * (1.0f - arc(u)); };
  const auto outside = [&](float u) { return std::abs(u - cu) - w; };
  brush_.fill(
      box,
      [&](float u, float v) {
        const float bow = 1.0f - 0.3f * bump((u - cu) / (0.3f * w));
        const float top = middle(u) - s_.lip * bow * arc(u) - v;
        const float bottom = v - middle(u) - (s_.gape + 1.25f * s_.lip) * arc(u);
        return brush_.cover(std::max({top, bottom, outside(u)}));
      },
      [&](float u, float v) {
        const float depth = v - middle(u);
        const float shine = 0.3f * bump((u - cu) / (0.6f * w)) *
                            bump((depth - s_.gape - 0.6f * s_.lip) / (0.5f * s_.lip));
        return s_.lips * ((depth < 0 ? 0.82f : 1.0f) + shine);
      });
  brush_.fill(
      box,
      [&](float u, float v) {
        const float gap = s_.gape * arc(u) + 0.009f;
        return brush_.cover(
            std::max(std::abs(v - middle(u) - 0.5f * gap) - 0.5f * gap, outside(u)));
      },
      [&](float u, float v) {
        const bool teeth = s_.gape > 0.04f && v - middle(u) < 0.6f * s_.gape * arc(u);
        return teeth ? Colour{0.93f, 0.90f, 0.85f} * (0.75f + 0.25f * arc(u))
                     : Colour{0.20f, 0.06f, 0.06f};
      });
}

void Portrait::front_hair() {
  if (s_.style == Hair::Bald) return;
  if (s_.style == Hair::Beanie) return beanie();
  const float parting = draw(random_, -0.4, 0.4);
  const float volume = s_.style == Hair::Short ? draw(random_, 0.05, 0.18) : 0.13f;
  const float temple = s_.style == Hair::Short ? draw(random_, 0.0, 0.25) : 0.55f;
  brush_.fill(
      {-1.3f, -1.5f, 1.3f, 0.9f},
      [&](float u, float v) {
        const float x = (u - slide(1) - parting) / s_.width;
        const float side = std::max(0.0f, std::abs(u - 0.5f * slide(1)) / s_.width - 0.72f);
        const float line = s_.hairline + 0.45f * s_.fringe * x * x + 6.0f * side * temple +
                           0.16f * noise_.layered(u * 7.0f, 0.5f, 2);
        const float outer = ellipse_distance(u, v + 0.04f, s_.width + volume, 1.0f + volume);
        return Brush::soft_cover(v - line, 0.07f) * brush_.cover(outer);
      },
      [&](float u, float v) { return hair_at(u, v); });
}

void Portrait::beanie() {
  const float brim = draw(random_, -0.62, -0.42);
  brush_.fill(
      {-1.3f, -1.6f, 1.3f, 0.0f},
      [&](float u, float v) {
        const float outer = ellipse_distance(u, v + 0.1f, s_.width + 0.13f, 1.08f);
        return brush_.cover(std::max(outer, v - brim - 0.08f * u * u));
      },
      [&](float u, float v) {
        const float rib = noise_.at(u * 16.0f, 0.5f);
        const float band = v > brim - 0.22f ? 1.15f : 0.95f;
        return s_.hat * (band * (0.85f + 0.3f * s_.light_u * u) + 0.22f * rib);
      });
}

void Portrait::glasses() {
  const float radius_u = draw(random_, 0.20, 0.25), radius_v = draw(random_, 0.14, 0.21);
  const float thick = draw(random_, 0.012, 0.03);
  const Colour frame = mix(s_.hat * 0.4f, Colour{0.08f, 0.07f, 0.07f}, draw(random_, 0.2, 1.0));
  brush_.fill(
      {-1.1f, s_.eye_y - 0.4f, 1.1f, s_.eye_y + 0.4f},
      [&](float u, float v) {
        const float x = std::abs(u - slide(1)), y = v - s_.eye_y - 0.02f;
        const float rim = std::abs(ellipse_distance(x - s_.eye_x, y, radius_u, radius_v));
        const float inner = x - (s_.eye_x - radius_u);
        const float outer = (s_.eye_x + radius_u) - x;
        const float bar = std::max(std::abs(y + 0.03f), std::min(inner, outer));
        const float reach = head_distance(u, v, 0.02f);
        return 0.9f * brush_.cover(std::max(std::min(rim, bar) - thick, reach));
      },
      [&](float, float) { return frame; });
}

// The light's colour, the exposure and a lens' darker corners.
void Portrait::grade() {
  const float fall = draw(random_, 0.0, 0.25);
  const float half = 0.5f * static_cast<float>(canvas_.size);
  for (Index y = 0; y < canvas_.size; ++y) {
    for (Index x = 0; x < canvas_.size; ++x) {
      const float dx = (static_cast<float>(x) + 0.5f) / half - 1.0f;
      const float dy = (static_cast<float>(y) + 0.5f) / half - 1.0f;
      const float gain = s_.exposure * (1.0f - 0.5f * fall * (dx * dx + dy * dy));
      float* p = canvas_.at(y, x);
      p[0] = std::clamp(p[0] * gain * s_.tint.r, 0.0f, 1.0f);
      p[1] = std::clamp(p[1] * gain * s_.tint.g, 0.0f, 1.0f);
      p[2] = std::clamp(p[2] * gain * s_.tint.b, 0.0f, 1.0f);
    }
  }
}

}  // namespace

Canvas paint_face(Random& random, Index size) {
  Canvas canvas(size);
  Portrait(canvas, random).paint();
  return canvas;
}

}  // namespace dfengine
