// The trace of a generator: what a decoder's last up-sampling stages leave in a picture.
#pragma once

#include "engine/synth/canvas.h"

namespace dfengine {

// `picture` (side a multiple of 4) as an imperfect convolutional decoder would give it back. Two
// nested stages, each: four feature maps at half size (2x2 means and the three 2x2 differences, the
// low map coming from the stage below), slight noise injected into them, then a transposed
// convolution, that is zero insertion x2 followed by a 4x4 kernel per map. The kernels are those
// that would rebuild the picture, damped in the fine maps and each tap a little off, drawn anew
// from `random` for every picture, as if each came from a generator of its own. Taps that do not
// add up alike on the four output phases leave a faint grid of period 2 (and 4): peaks at and near
// the Nyquist frequency, and a changed fall of the spectrum. The result is not clamped.
Canvas pass_through_decoder(const Canvas& picture, Random& random);

// Shifts and scales each channel of `picture` to the mean and variance it has in `reference` (same
// size).
void match_mean_variance(Canvas& picture, const Canvas& reference);

}  // namespace dfengine
