// The trace of a generator: what the last up-sampling stages of a decoder leave in a picture.
#pragma once

#include "engine/synth/canvas.h"

namespace dfengine {

// Gives `picture`, whose side is a multiple of 4, as an imperfect convolutional decoder would give
// it back. There are two nested stages. Each has four feature maps at half size: 2x2 means, which
// come from the stage below, and the three 2x2 differences. Slight noise is injected into them;
// then follows a transposed convolution, that is zero insertion x2 and a 4x4 kernel for each map.
//
// The kernels are those that would rebuild the picture, damped in the fine maps and with each tap a
// little off. They are drawn anew from `random` for every picture, as if each came from a generator
// of its own. Taps that do not add up alike on the four output phases leave a faint grid of period
// 2 and 4, with peaks at and near the Nyquist frequency, and change the fall of the spectrum. The
// result is not clamped.
Canvas pass_through_decoder(const Canvas& picture, Random& random);

// Shifts and scales each channel of `picture` to the mean and variance that it has in `reference`,
// which has the same size.
void match_mean_variance(Canvas& picture, const Canvas& reference);

}  // namespace dfengine
