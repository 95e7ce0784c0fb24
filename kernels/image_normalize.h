// Pixels to network input: y = (x / 255 - mean[c]) / std[c], evaluated as x * scale[c] + shift[c].
#pragma once

#include <cstdint>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {

// The same in float, as devices compute it.
struct PixelAffine {
  float scale[3] = {};
  float shift[3] = {};
  static PixelAffine of(const double mean[3], const double std_dev[3]) {
    PixelAffine affine;
    for (int c = 0; c < 3; ++c) {
      affine.scale[c] = static_cast<float>(1.0 / (255.0 * std_dev[c]));
      affine.shift[c] = static_cast<float>(-mean[c] / std_dev[c]);
    }
    return affine;
  }
};

namespace cpu {

// x [rows, 3] is uint8 RGB, y [rows, 3]. mean and std_dev are in units of x / 255, std_dev > 0.
template <class T>
void image_normalize(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, T* y);

}  // namespace cpu

// On the device T is Half, BFloat16 or float. Arithmetic is in float and rounded once. x and y are
// aligned to 16 bytes. mean and std_dev are read before the call returns.
namespace cuda {

template <class T>
void image_normalize(Stream stream, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, T* y);

}  // namespace cuda
}  // namespace dfengine
