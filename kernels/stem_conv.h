// Stem: a full 3x3 convolution with stride t of 1 or 2 from 3 channels (RGB) to K:
//   y[n][p][q][k] = sum_{r,s,c} x[n][tp+r-before][tq+s-before][c] * w[r][s][c][k]
// where x is zero outside the image. There is no data gradient, because nothing that is trained
// stands before the stem.
//
// Shapes       x [N, H, W, 3], w [3, 3, 3, K] as R S C K (torch's [K, C, R, S] transposed),
//              y [N, P, Q, K].
// Aliasing     y must not overlap x or w. An epilogue's residual may be y.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/epilogue.h"
#include "kernels/image_normalize.h"
#include "kernels/norm_gradient.h"

namespace dfengine {

struct StemProblem {
  static constexpr Index kChannels = 3;
  static constexpr Index kWindow = 3;
  Index n = 0, h = 0, w = 0, k = 0;
  Padding padding = Padding::Torch;
  Index stride = 2;
  Index p = 0, q = 0;                // output height and width
  Index before_h = 0, before_w = 0;  // zeros above and to the left

  // Throws ShapeError unless x has 3 channels, sizes are positive and the stride is 1 or 2.
  static StemProblem make(const Shape& x, Index k, Padding padding, Index stride = 2);
  constexpr Shape output() const { return {n, p, q, k}; }
  constexpr Index flops() const { return 54 * n * p * q * k; }
  constexpr Index elements() const { return n * h * w * 3 + n * p * q * k + 27 * k; }
};

namespace cpu {

template <class T>
void stem_forward(const Context& ctx, const StemProblem& p, const T* x, const SumOf<T>* w,
                  const Epilogue<T>& epilogue, T* y);

// dw[r][s][c][k] = the sum over n, p and q of dy * x. scratch has stem_weight_scratch(p) elements.
Index stem_weight_scratch(const StemProblem& p);
template <class T>
void stem_backward_weight(const Context& ctx, const StemProblem& p, const T* x, const T* dy,
                          SumOf<T>* scratch, SumOf<T>* dw);

}  // namespace cpu

// On the device T is Half, BFloat16 or float, and sums are in float. Throws ShapeError unless K is
// a multiple of 8 and w and y are aligned to 16 bytes. x needs no alignment beyond that of its
// type.
namespace cuda {

// What a stem reads: x, or in 16 bits the pixels that x is made of, which are normalised as they
// are loaded, to the bits that x would have (kernels/image_normalize.h).
template <class T>
struct StemInput {
  const T* x = nullptr;
  const std::uint8_t* pixels = nullptr;  // [N, H, W, 3]
  PixelAffine affine = {};

  StemInput(const T* values) : x(values) {}  // NOLINT: values are an input
  StemInput(const std::uint8_t* image, const PixelAffine& of_image)
      : pixels(image), affine(of_image) {}
};

template <class T>
void stem_forward(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* w,
                  const Epilogue<T, float>& epilogue, T* y);

// dw is in float: sums over fixed ranges of pixels are added in their order.
// scratch has stem_weight_scratch(p) floats.
Index stem_weight_scratch(const StemProblem& p);
// With a gradient on load (kernels/norm_gradient.h) y is the convolution's result.
template <class T>
void stem_backward_weight(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* dy,
                          float* scratch, float* dw, const T* y = nullptr,
                          const GradientOnLoad& gradient = {});

}  // namespace cuda
}  // namespace dfengine
