// A stem in place of the expansion of an inverted residual block, for the kernels that make a
// block's wide values where they are needed: it is an expansion of the windows of a picture.
#pragma once

#include "kernels/image_normalize.h"
#include "kernels/stem_conv.h"

namespace dfengine {

// The stem convolution of pixels * scale + shift.
struct PixelInput {
  StemProblem stem;  // pixels [n, stem.h, stem.w, 3], result [n, stem.p, stem.q, stem.k]
  PixelAffine affine;

  // A window is a pixel of so many channels: tap (r, s) of channel c is 10 r + 3 s + c, and what
  // lies in between has weights of zero.
  static constexpr Index kDepth = 32;
  static constexpr Index depth(Index r, Index s, Index c) { return 10 * r + 3 * s + c; }
};

}  // namespace dfengine
