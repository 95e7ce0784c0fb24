// Who sits for a synthetic portrait, and in what light: every trait the painter needs.
#pragma once

#include "engine/synth/canvas.h"

namespace dfengine {

enum class Hair { Bald, Short, Long, Curly, Bun, Beanie };
enum class Backdrop { Gradient, Lights, Room, Leaves };

// Lengths are in face units: the head reaches from v = -1 (crown) to v = 1 (chin).
struct Sitter {
  Colour skin, hair, iris, lips, shirt, shirt_stripe, hat, backdrop_a, backdrop_b;
  Hair style = Hair::Short;
  Backdrop backdrop = Backdrop::Gradient;
  float width, taper;                // head half width; how much the jaw narrows
  float turn;                        // how far features move, as the head turns a little
  float eye_x, eye_y, eye_w, eye_h;  // place of the right eye, half width, half height
  float gaze_u, gaze_v;              // iris shift in eye half widths
  float brow_gap, brow_thick, brow_arch, brow_tilt;
  float nose_length, nose_width;
  float mouth_y, mouth_w, smile, lip, gape;
  float hairline, fringe, strands;
  float beard, blush, freckles;
  bool glasses, stripes, lipstick;
  float light_u, light_v, light_z;  // unit vector towards the light
  float ambient, exposure;
  Colour tint;  // colour of the light
};

Sitter draw_sitter(Random& random);

}  // namespace dfengine
