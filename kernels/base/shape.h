// Shapes and window geometry shared by every kernel. All activations are NHWC.
// The letters: N H W C in, P Q K out, R S window, x y w for values and dx dy dw for gradients.
#pragma once

#include "kernels/base/index.h"

namespace dfengine {

// The shape of an NHWC activation. One vector for each image is {n, 1, 1, c}.
struct Shape {
  Index n = 0;
  Index h = 1;
  Index w = 1;
  Index c = 1;

  constexpr Index count() const { return n * h * w * c; }
  // The pixels of all images, which a pointwise convolution or batch norm calls its rows.
  constexpr Index rows() const { return n * h * w; }
  constexpr bool operator==(const Shape&) const = default;
};

// How a window of odd size is padded.
//   Torch   (size - 1) / 2 rows and columns of zeros on every side.
//   TfSame  TensorFlow's "same": there are ceil(in / stride) outputs, and an odd zero stands at the
//           bottom or right. An even input at stride 2 under a 3x3 window is padded 0 before and 1
//           after.
enum class Padding { Torch, TfSame };

// The square window of a convolution.
struct Window {
  Index size = 1;
  Index stride = 1;
  Padding padding = Padding::Torch;
};

// What a layer applies to its result. Relu6 is min(max(x, 0), 6).
enum class Activation { None, Relu, Relu6 };

// What a kernel does with the gradient buffer it is given.
enum class Write { Overwrite, Accumulate };

// One axis of a window: how many outputs it has, and how many zeros stand before the first input.
struct WindowAxis {
  Index out = 0;
  Index before = 0;
};

constexpr WindowAxis window_axis(Index in, const Window& window) {
  if (window.padding == Padding::Torch) {
    const Index before = (window.size - 1) / 2;
    return {(in + 2 * before - window.size) / window.stride + 1, before};
  }
  const Index out = divide_up(in, window.stride);
  const Index total = (out - 1) * window.stride + window.size - in;
  return {out, total > 0 ? total / 2 : 0};
}

}  // namespace dfengine
