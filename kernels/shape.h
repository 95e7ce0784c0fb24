// Shapes and window geometry shared by every kernel. All activations are NHWC.
// House letters: N H W C in, P Q K out, R S window; x, y, w values; dx, dy, dw gradients.
#pragma once

#include <cstdint>

namespace dfengine {

// Sizes and positions. Signed, so that differences are safe.
using Index = std::int64_t;

// An NHWC activation. A vector per image is {n, 1, 1, c}.
struct Shape {
  Index n = 0;
  Index h = 1;
  Index w = 1;
  Index c = 1;

  constexpr Index count() const { return n * h * w * c; }
  // Pixels of all images: what a pointwise convolution or batch norm calls its rows.
  constexpr Index rows() const { return n * h * w; }
  constexpr bool operator==(const Shape&) const = default;
};

// How a 3x3 window is padded.
// Torch:  one row/column of zeros on every side.
// TfSame: as TensorFlow's "same": ceil(in / stride) outputs, the odd zero at the bottom/right, so
//         an even input at stride 2 is padded 0 before and 1 after.
enum class Padding { Torch, TfSame };

// What a layer applies to its result. Relu6 is min(max(x, 0), 6).
enum class Activation { None, Relu, Relu6 };

// What a kernel does with the gradient buffer it is given.
enum class Write { Overwrite, Accumulate };

// One axis of a 3x3 window: how many outputs, and how many zeros stand before the first input.
struct WindowAxis {
  Index out = 0;
  Index before = 0;
};

constexpr WindowAxis window_axis(Index in, Index stride, Padding padding) {
  constexpr Index kWindow = 3;
  if (padding == Padding::Torch) return {(in + 2 - kWindow) / stride + 1, 1};
  const Index out = (in + stride - 1) / stride;
  const Index total = (out - 1) * stride + kWindow - in;
  return {out, total > 0 ? total / 2 : 0};
}

}  // namespace dfengine
