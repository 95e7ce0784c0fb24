// One axis of a picture's resize. Every output level is a weighted sum of neighbouring input
// levels:
//   y[i] = clamp((2^21 + sum_t w[i][t] * x[start[i] + t]) >> 22, 0, 255)
// This is Pillow's arithmetic in 32-bit integers: weights have 22 fraction bits and add up to about
// 2^22. Negative weights (bicubic) are allowed as long as the absolute values add up to under 2^23.
// y must not overlap x. Integers give the same result on every machine.
#pragma once

#include <cstdint>

#include "kernels/base/shape.h"

namespace dfengine {

constexpr int kResampleFractionBits = 22;

// How the outputs of one axis follow from its inputs. The span of inputs that an output adds up
// always lies in the input.
struct ResampleAxis {
  Index in = 0;                           // inputs
  Index count = 0;                        // outputs
  Index taps = 0;                         // weights of each output
  const std::int32_t* start = nullptr;    // [count], the first input of each output's span
  const std::int32_t* weights = nullptr;  // [count, taps]
};

namespace cpu {

// Along a row of pixels: x [axis.in, 3], y [axis.count, 3].
void resample_row(const ResampleAxis& axis, const std::uint8_t* x, std::uint8_t* y);

// Across rows: x [taps] rows of n levels that begin `stride` apart, weights [taps], y [n].
void resample_column(Index n, Index taps, const std::int32_t* weights, Index stride,
                     const std::uint8_t* x, std::uint8_t* y);

}  // namespace cpu
}  // namespace dfengine
