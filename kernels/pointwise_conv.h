// Pointwise (1x1) convolution: y[m][k] = sum_c x[m][c] * w[k][c], rows m = N*H*W pixels.
// A dense layer is the same operation with one row per image.
//
// Shapes       x [M, C], w [K, C] (torch's [K, C, 1, 1]), y [M, K], all contiguous.
// Aliasing     y must not overlap x or w. An epilogue's residual may be y.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/epilogue.h"
#include "kernels/norm_on_load.h"

namespace dfengine {

struct PointwiseProblem {
  Index m = 0;  // rows: N * H * W
  Index c = 0;  // channels in
  Index k = 0;  // channels out

  // Throws ShapeError unless all sizes are positive.
  static PointwiseProblem make(Index m, Index c, Index k);
  constexpr Index flops() const { return 2 * m * c * k; }
  // What the forward pass reads and writes when it touches each element once.
  constexpr Index elements() const { return m * c + m * k + c * k; }
};

namespace cpu {

// Weights are packed into the kernel's own order before use: once after loading for inference, once
// a step in training. Both orders take this many elements. In bf16 they throw ShapeError unless C
// and K are multiples of 8.
Index pointwise_packed_count(const PointwiseProblem& p);
// What pointwise_forward takes.
template <class T>
void pointwise_pack(const PointwiseProblem& p, const SumOf<T>* w, T* packed);
// What pointwise_backward_data takes.
template <class T>
void pointwise_pack_transposed(const PointwiseProblem& p, const SumOf<T>* w, T* packed);

// y = epilogue(x * w^T), where pointwise_pack made packed of w.
template <class T>
void pointwise_forward(const Context& ctx, const PointwiseProblem& p, const T* x, const T* packed,
                       const Epilogue<T>& epilogue, T* y);

// dx (+)= dy * w, where pointwise_pack_transposed made packed of w.
template <class T>
void pointwise_backward_data(const Context& ctx, const PointwiseProblem& p, const T* dy,
                             const T* packed, Write write, T* dx);

// dw = dy^T * x. scratch has pointwise_weight_scratch(p) elements.
Index pointwise_weight_scratch(const PointwiseProblem& p);
template <class T>
void pointwise_backward_weight(const Context& ctx, const PointwiseProblem& p, const T* x,
                               const T* dy, SumOf<T>* scratch, SumOf<T>* dw);

}  // namespace cpu

// On the device x, w, dy, y and dx are in T, and sums are in float. Half and BFloat16 run on tensor
// cores: C and K must be multiples of 8 and pointers aligned to 16 bytes, or ShapeError is thrown.
// float takes any C and K. w is [K, C] as it is, nothing is packed. A norm is applied to x as x is
// loaded. These functions take the tiles that a rule chooses; plans choose them by
// kernels/cuda/pointwise/pointwise_choice.h.
namespace cuda {

template <class T>
void pointwise_forward(Stream stream, const PointwiseProblem& p, const T* x, const T* w,
                       const Epilogue<T, float>& epilogue, T* y, const NormOnLoad& norm = {});

// dx (+)= dy * w.
template <class T>
void pointwise_backward_data(Stream stream, const PointwiseProblem& p, const T* dy, const T* w,
                             Write write, T* dx);

// dw [K, C] = dy^T * x: sums over fixed ranges of rows are added in their order.
// scratch has pointwise_weight_scratch(p) floats.
Index pointwise_weight_scratch(const PointwiseProblem& p);
template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm = {});

}  // namespace cuda
}  // namespace dfengine
