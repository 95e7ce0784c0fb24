// The act of painting one portrait: a canvas, a sitter, a brush in face units.
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

  // Signed distance to the head's outline grown by `grow`.
  float head_distance(float u, float v, float grow) const;
  // Light falling on the head, taken as an ellipsoid.
  float shade(float u, float v) const;
  Colour hair_at(float u, float v) const;
  // Features slide towards where the head is turned; `depth` 1 on the face, more on the nose.
  float slide(float depth) const { return sitter_.turn * depth; }

  Canvas& canvas_;
  Random& random_;
  Sitter sitter_;
  ValueNoise noise_;
  Brush brush_;
};

constexpr Brush::Box kHeadBox = {-1.3f, -1.6f, 1.3f, 1.3f};

}  // namespace dfengine
