// Paints synthetic faces: one random sitter in one random place and light, with a brush in face
// units.
#pragma once

#include "engine/synth/canvas.h"
#include "engine/synth/sitter.h"

namespace dfengine {

class Portrait {
 public:
  Portrait(Canvas& canvas, Random& random);
  void paint();

 private:
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

  // The signed distance to the head's outline, when this is grown by `grow`.
  float head_distance(float u, float v, float grow) const;
  // The light that falls on the head, which is taken as an ellipsoid.
  float shade(float u, float v) const;
  Colour hair_at(float u, float v) const;
  // Features slide to the side to which the head is turned. `depth` is 1 on the face and more on
  // the nose.
  float slide(float depth) const { return sitter_.turn * depth; }

  Canvas& canvas_;
  Random& random_;
  Sitter sitter_;
  ValueNoise noise_;
  Brush brush_;
};

// Paints a face of size x size pixels, with values from about 0 to 1, before any camera or
// generator. Every choice (tone, hair, features, clothes, background, light) comes from `random`.
Canvas paint_face(Random& random, Index size);

constexpr Brush::Box kHeadBox = {-1.3f, -1.6f, 1.3f, 1.3f};

}  // namespace dfengine
