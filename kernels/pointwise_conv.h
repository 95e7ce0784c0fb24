// Pointwise (1x1) convolution: y[m][k] = sum_c x[m][c] * w[k][c], rows m = N*H*W pixels.
// A dense layer is the same operation with one row per image.
//
// Shapes   x [M, C], w [K, C] (torch's [K, C, 1, 1]), y [M, K], all contiguous.
// Aliasing y must not overlap x or w (an epilogue's residual may be y).
// Determinism: bit-identical run to run and for any number of threads.
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
  // Elements read and written once each, forward.
  constexpr Index elements() const { return m * c + m * k + c * k; }
};

namespace cpu {

// Weights are packed into the kernel's own order before use: once after loading for inference, once
// a step in training. Both orders take this many elements.
Index pointwise_packed_count(const PointwiseProblem& p);
// For forward: packed(w).
template <class T>
void pointwise_pack(const PointwiseProblem& p, const T* w, T* packed);
// For the data gradient: packed(w transposed).
template <class T>
void pointwise_pack_transposed(const PointwiseProblem& p, const T* w, T* packed);

// y = epilogue(x * w^T). packed from pointwise_pack.
template <class T>
void pointwise_forward(const Context& ctx, const PointwiseProblem& p, const T* x, const T* packed,
                       const Epilogue<T>& epilogue, T* y);

// dx (+)= dy * w. packed from pointwise_pack_transposed.
template <class T>
void pointwise_backward_data(const Context& ctx, const PointwiseProblem& p, const T* dy,
                             const T* packed, Write write, T* dx);

// dw = dy^T * x. scratch: pointwise_weight_scratch(p) elements.
Index pointwise_weight_scratch(const PointwiseProblem& p);
template <class T>
void pointwise_backward_weight(const Context& ctx, const PointwiseProblem& p, const T* x,
                               const T* dy, T* scratch, T* dw);

}  // namespace cpu

// On the device. T is Half or BFloat16 (tensor cores; C and K multiples of 8, pointers aligned to
// 16 bytes, else ShapeError) or float (any C and K). Sums in float; x, w, dy, y and dx in T.
// w [K, C] as it is: nothing is packed. Where a norm is given, it is applied to x as x is loaded.
// Plans choose the tiles: cuda/pointwise_choice.h.
namespace cuda {

template <class T>
void pointwise_forward(Stream stream, const PointwiseProblem& p, const T* x, const T* w,
                       const Epilogue<T, float>& epilogue, T* y, const NormOnLoad& norm = {});

// dx (+)= dy * w.
template <class T>
void pointwise_backward_data(Stream stream, const PointwiseProblem& p, const T* dy, const T* w,
                             Write write, T* dx);

// dw = dy^T * x, [K, C]: partial sums over fixed ranges of rows, then those in order.
// scratch: pointwise_weight_scratch(p) floats.
Index pointwise_weight_scratch(const PointwiseProblem& p);
template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm = {});

}  // namespace cuda
}  // namespace dfengine
