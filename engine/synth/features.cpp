// Eyes, brows, nose, mouth, beard and glasses of a portrait.
#include "engine/synth/portrait.h"

namespace dfengine {

void Portrait::beard() {
  const float upper = sitter_.mouth_y + 0.02f, sides = draw(random_, 0.15, 0.55);
  brush_.fill(
      kHeadBox,
      [&](float u, float v) {
        const float x = (u - slide(1)) / sitter_.width;
        const float edge =
            upper - v - 0.2f + sides * (0.45f - x * x) + 0.1f * noise_.at(u * 8.0f, v * 8.0f);
        const float inside = Brush::soft_cover(edge, 0.14f);
        return sitter_.beard * inside * brush_.cover(head_distance(u, v, 0.03f));
      },
      [&](float u, float v) {
        return sitter_.hair * (0.85f + 0.5f * noise_.layered(u * 16.0f, v * 9.0f, 2));
      });
}

void Portrait::eye(float side) {
  const float cu = side * sitter_.eye_x + slide(1), cv = sitter_.eye_y;
  const float w = sitter_.eye_w, h = sitter_.eye_h, iris = 0.56f * w;
  const float iu = cu + sitter_.gaze_u * w, iv = cv + sitter_.gaze_v * w - 0.01f;
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
        c = mix(c, sitter_.iris * ring, brush_.cover(r - iris));
        c = mix(c, Colour{0.04f, 0.03f, 0.03f}, brush_.cover(r - 0.45f * iris));
        const float gu = u - iu - 0.35f * iris * sitter_.light_u, gv = v - iv + 0.4f * iris;
        return mix(c, Colour{1, 1, 1}, brush_.cover(std::sqrt(gu * gu + gv * gv) - 0.22f * iris));
      });
  const Colour lash = mix(sitter_.hair * 0.35f, sitter_.skin, 0.15f);
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
  const float cu = side * (sitter_.eye_x + 0.01f) + slide(1), w = sitter_.eye_w * 1.35f;
  const float cv = sitter_.eye_y - sitter_.brow_gap;
  const Colour colour = mix(sitter_.hair * 0.8f, sitter_.skin * 0.5f, 0.2f);
  brush_.fill(
      {cu - 1.2f * w, cv - 0.25f, cu + 1.2f * w, cv + 0.2f},
      [&](float u, float v) {
        const float t = (u - cu) / w, outward = t * side;
        const float line = cv - sitter_.brow_arch * (1.0f - t * t) + sitter_.brow_tilt * outward;
        const float thick = sitter_.brow_thick * (1.0f - 0.35f * outward);
        const float hairs = 0.02f * noise_.at(u * 30.0f, v * 20.0f);
        return 0.85f *
               Brush::soft_cover(
                   std::max(std::abs(v - line) - thick + hairs, (std::abs(t) - 1.0f) * w), 0.045f);
      },
      [&](float, float) { return colour; });
}

void Portrait::nose() {
  const float tip_u = slide(1.8f), tip_v = sitter_.eye_y + sitter_.nose_length,
              w = sitter_.nose_width;
  const auto bridge = [&](float v) {
    const float t = std::clamp((v - sitter_.eye_y) / sitter_.nose_length, 0.0f, 1.0f);
    return slide(1) + (tip_u - slide(1)) * t;
  };
  const float shadow_side = sitter_.light_u > 0 ? -1.0f : 1.0f;
  const Brush::Box box = {tip_u - 0.4f, sitter_.eye_y - 0.15f, tip_u + 0.4f, tip_v + 0.2f};
  const auto down = [&](float v) {
    return std::clamp((v - sitter_.eye_y + 0.1f) / sitter_.nose_length, 0.0f, 1.0f);
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
        return mix(sitter_.skin * 0.38f, Colour{0.3f, 0.1f, 0.06f}, 0.3f);
      });
  brush_.fill(
      box,
      [&](float u, float v) {
        const float ridge = bump((u - bridge(v) + 0.1f * shadow_side * w) / (0.4f * w));
        return 0.22f * ridge * down(v) * Brush::soft_cover(v - tip_v + 0.06f, 0.08f);
      },
      [&](float, float) {
        return mix(sitter_.skin, Colour{1, 1, 1}, 0.55f);
      });
}

void Portrait::mouth() {
  const float cu = slide(1.2f), w = sitter_.mouth_w;
  const Brush::Box box = {cu - 1.2f * w, sitter_.mouth_y - 0.3f, cu + 1.2f * w,
                          sitter_.mouth_y + 0.3f};
  const auto arc = [&](float u) {
    const float t = (u - cu) / w;
    return std::max(0.0f, 1.0f - t * t);
  };
  // Corners rise by `smile`; the gap hangs below the line between the lips.
  const auto middle = [&](float u) { return sitter_.mouth_y - sitter_.smile * (1.0f - arc(u)); };
  const auto outside = [&](float u) { return std::abs(u - cu) - w; };
  brush_.fill(
      box,
      [&](float u, float v) {
        const float bow = 1.0f - 0.3f * bump((u - cu) / (0.3f * w));
        const float top = middle(u) - sitter_.lip * bow * arc(u) - v;
        const float bottom = v - middle(u) - (sitter_.gape + 1.25f * sitter_.lip) * arc(u);
        return brush_.cover(std::max({top, bottom, outside(u)}));
      },
      [&](float u, float v) {
        const float depth = v - middle(u);
        const float shine =
            0.3f * bump((u - cu) / (0.6f * w)) *
            bump((depth - sitter_.gape - 0.6f * sitter_.lip) / (0.5f * sitter_.lip));
        return sitter_.lips * ((depth < 0 ? 0.82f : 1.0f) + shine);
      });
  brush_.fill(
      box,
      [&](float u, float v) {
        const float gap = sitter_.gape * arc(u) + 0.009f;
        return brush_.cover(
            std::max(std::abs(v - middle(u) - 0.5f * gap) - 0.5f * gap, outside(u)));
      },
      [&](float u, float v) {
        const bool teeth = sitter_.gape > 0.04f && v - middle(u) < 0.6f * sitter_.gape * arc(u);
        return teeth ? Colour{0.93f, 0.90f, 0.85f} * (0.75f + 0.25f * arc(u))
                     : Colour{0.20f, 0.06f, 0.06f};
      });
}

void Portrait::glasses() {
  const float radius_u = draw(random_, 0.20, 0.25), radius_v = draw(random_, 0.14, 0.21);
  const float thick = draw(random_, 0.012, 0.03);
  const Colour frame =
      mix(sitter_.hat * 0.4f, Colour{0.08f, 0.07f, 0.07f}, draw(random_, 0.2, 1.0));
  brush_.fill(
      {-1.1f, sitter_.eye_y - 0.4f, 1.1f, sitter_.eye_y + 0.4f},
      [&](float u, float v) {
        const float x = std::abs(u - slide(1)), y = v - sitter_.eye_y - 0.02f;
        const float rim = std::abs(ellipse_distance(x - sitter_.eye_x, y, radius_u, radius_v));
        const float inner = x - (sitter_.eye_x - radius_u);
        const float outer = (sitter_.eye_x + radius_u) - x;
        const float bar = std::max(std::abs(y + 0.03f), std::min(inner, outer));
        const float reach = head_distance(u, v, 0.02f);
        return 0.9f * brush_.cover(std::max(std::min(rim, bar) - thick, reach));
      },
      [&](float, float) { return frame; });
}

}  // namespace dfengine
