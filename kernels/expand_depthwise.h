// The wide half of an inverted residual block (Sandler et al., "MobileNetV2", 2018) in training, as
// one operation:
//   e = x w^T                                               [N, H, W, wide], rows of x times [wide, in]
//   v = act(gamma * (e - mean) * rstd + beta)               batch norm with the batch's statistics
//   y = depthwise 3x3 of v                                  [N, P, Q, wide]
// e and v, six times as wide as x, are never stored: backward makes them again, tile by tile. What
// a batch norm needs of all of e follows from the small matrices of x that its mean m and
// covariance K are:
//   mean = w m,  var = diag(w K w^T)
// and so does what its gradient needs. With g the gradient behind the activation, s = sum g, R =
// g^T x, C = R - s m^T, a = gamma * rstd and over M rows:
//   dbeta = s,  dgamma = t = rstd * diag(w C^T)
//   dw = diag(a) (C - diag(rstd * t) w K)
//   dx = (a g) w - (x - m) B - b,  B = w^T diag(a * rstd * t / M) w,  b = w^T (a * s / M)
// all of which one pass over y's gradient gives. In the first block the stem takes the expansion's
// place: x is then the windows of the pixels, which are made of these as they are needed, and has
// no gradient. (From dx = a (g - s / M - xhat * t / M) of a batch norm, with xhat = (x - m) w^T *
// rstd.)
//
// Aliasing     y, dx and all scratch overlap nothing else.
// Determinism  The bits are the same in every run.
#pragma once

#include <optional>

#include "kernels/channel_moments.h"
#include "kernels/cuda/stream.h"
#include "kernels/depthwise_conv.h"
#include "kernels/norm_gradient.h"
#include "kernels/pixel_input.h"

namespace dfengine {

struct ExpandDepthwiseProblem {
  DepthwiseProblem depthwise = {};  // of v: n, h, w, wide channels, stride, padding
  Index in = 0;                     // channels of x
  double eps = 1e-5, momentum = 0.1;
  Activation activation = Activation::Relu6;
  std::optional<PixelInput> pixels = {};  // in is then PixelInput::kDepth

  constexpr Shape input() const { return {depthwise.n, depthwise.h, depthwise.w, in}; }
  constexpr Index rows() const { return input().rows(); }
  constexpr Index wide() const { return depthwise.c; }
};

// T is Half or BFloat16; sums are in float, and those over all rows of x in double. x is [rows, in]
// of T and w [wide, in]; or x is the pixels, uint8, and w the stem's, [3, 3, 3, wide]. dw is as w.
namespace cuda {

// Whether there are kernels for the problem: channels are multiples of 8, at most 32 of x, and so
// many of v that their sums fit into shared memory; a picture of v has less than 2^31 values; with
// pixels, the depthwise convolution has stride 1.
bool has_expand_depthwise(const ExpandDepthwiseProblem& p);

// What the expansion's statistics are made of beside x, and where the next values of running
// statistics go: beside w all [wide].
template <class T>
struct ExpandStatisticsParams {
  const T* w;
  const float *gamma, *beta, *running_mean, *running_var;
  float *next_mean, *next_var;
};

// What forward leaves to backward, in floats: scale and shift of the norm, and rstd, each [wide]; m
// [16 or 32] and K, a row for each of as many channels.
Index expand_depthwise_saved(const ExpandDepthwiseProblem& p);
Index expand_depthwise_saved_mean(const ExpandDepthwiseProblem& p);  // where m begins

// Fills `saved`. scratch: so many bytes, aligned to 16.
Index expand_statistics_scratch(const ExpandDepthwiseProblem& p);
template <class T>
void expand_statistics(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                       const ExpandStatisticsParams<T>& params, void* scratch, float* saved);

// y and its channels' moments in so many parts. taps [3, 3, wide].
Index expand_depthwise_parts(const ExpandDepthwiseProblem& p);
template <class T>
void expand_depthwise_forward(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                              const T* w, const T* taps, const float* saved, T* y,
                              const ChannelMoments& moments);

// The one pass: R [wide, in] and behind it s [wide] in `sums`, the taps' gradient [3, 3, wide], and
// (a g) w [rows, in], which is left out where it is null, as it is with pixels. y is read where the
// gradient is taken on load. scratch: so many floats.
Index expand_depthwise_sums(const ExpandDepthwiseProblem& p);
Index expand_depthwise_scratch(const ExpandDepthwiseProblem& p);
template <class T>
void expand_depthwise_backward(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                               const T* y, const T* dy, const T* w, const T* taps,
                               const float* saved, const GradientOnLoad& gradient, float* scratch,
                               float* sums, float* dtaps, T* projected);

// The rest: dw, dgamma, dbeta, and dx from `projected`, unless both are null. scratch: so many
// floats.
Index expand_gradients_scratch(const ExpandDepthwiseProblem& p);
template <class T>
void expand_gradients(Stream stream, const ExpandDepthwiseProblem& p, const void* x, const T* w,
                      const float* saved, const float* sums, float* scratch, float* dw,
                      float* dgamma, float* dbeta, const T* projected, Write write, T* dx);

}  // namespace cuda
}  // namespace dfengine
