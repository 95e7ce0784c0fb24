// Depthwise 3x3 convolution:
//   y[n][p][q][c] = sum_{r,s} x[n][p*stride+r-before][q*stride+s-before][c] * w[r][s][c]
// where x is zero outside the image.
//
// Shapes       x [N, H, W, C], w [3, 3, C] (torch's [C, 1, 3, 3] transposed), y [N, P, Q, C].
//              Any C, H and W of at least 1, stride 1 or 2, padding as shape.h defines it.
// Aliasing     y must not overlap x or w. An epilogue's residual may be y.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/epilogue.h"
#include "kernels/norm_on_load.h"

namespace dfengine {

struct DepthwiseProblem {
  static constexpr Index kWindow = 3, kTaps = kWindow * kWindow;
  Index n = 0, h = 0, w = 0, c = 0;
  Index stride = 1;
  Padding padding = Padding::Torch;
  Index p = 0, q = 0;                // output height and width
  Index before_h = 0, before_w = 0;  // zeros above and to the left

  // Throws ShapeError unless sizes are positive and stride is 1 or 2.
  static DepthwiseProblem make(const Shape& x, Index stride, Padding padding);
  constexpr Shape input() const { return {n, h, w, c}; }
  constexpr Shape output() const { return {n, p, q, c}; }
  constexpr Index flops() const { return 18 * n * p * q * c; }
  // What the forward pass reads and writes when it touches each element once.
  constexpr Index elements() const { return n * c * (h * w + p * q) + 9 * c; }
};

namespace cpu {

template <class T>
void depthwise_forward(const Context& ctx, const DepthwiseProblem& p, const T* x, const SumOf<T>* w,
                       const Epilogue<T>& epilogue, T* y);

// dx (+)= the transposed convolution of dy with w.
template <class T>
void depthwise_backward_data(const Context& ctx, const DepthwiseProblem& p, const T* dy,
                             const SumOf<T>* w, Write write, T* dx);

// dw[r][s][c] = the sum over n, p and q of dy * x.
// scratch has depthwise_weight_scratch(p) elements.
Index depthwise_weight_scratch(const DepthwiseProblem& p);
template <class T>
void depthwise_backward_weight(const Context& ctx, const DepthwiseProblem& p, const T* x,
                               const T* dy, SumOf<T>* scratch, SumOf<T>* dw);

}  // namespace cpu

// On the device T is Half, BFloat16 or float, and sums are in float. Throws ShapeError unless C is
// a multiple of 8 and pointers are aligned to 16 bytes. A norm is applied to x as x is loaded.
namespace cuda {

template <class T>
void depthwise_forward(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                       const Epilogue<T, float>& epilogue, T* y, const NormOnLoad& norm = {});

template <class T>
void depthwise_backward_data(Stream stream, const DepthwiseProblem& p, const T* dy, const T* w,
                             Write write, T* dx);

// dw is in float: sums over fixed ranges of pixels are added in their order.
// scratch has depthwise_weight_scratch(p) floats.
Index depthwise_weight_scratch(const DepthwiseProblem& p);
template <class T>
void depthwise_backward_weight(Stream stream, const DepthwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm = {});

}  // namespace cuda
}  // namespace dfengine
