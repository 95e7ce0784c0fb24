// Paints synthetic faces: one random sitter in one random place and light.
#pragma once

#include "engine/synth/canvas.h"

namespace dfengine {

// Paints a face of size x size pixels, with values from about 0 to 1, before any camera or
// generator. Every choice (tone, hair, features, clothes, background, light) comes from `random`.
Canvas paint_face(Random& random, Index size);

}  // namespace dfengine
