// Global average pool: y[n][c] = mean over h, w of x[n][h][w][c]; dx = dy / (H * W).
#pragma once

#include "kernels/base/half.h"
#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {
namespace cpu {

// x [N, H, W, C] has the given shape, y is [N, C]. Sums are in a fixed order.
template <class T>
void global_average_pool_forward(const Context& ctx, const Shape& x_shape, const T* x, SumOf<T>* y);

template <class T>
void global_average_pool_backward(const Context& ctx, const Shape& x_shape, const SumOf<T>* dy,
                                  Write write, T* dx);

}  // namespace cpu

// On the device x and dx are in T, which is Half, BFloat16 or float. y and dy are in float, because
// what follows the pool is small and stays in float. Throws ShapeError unless C is a multiple of 8
// and pointers are aligned to 16 bytes.
namespace cuda {

template <class T>
void global_average_pool_forward(Stream stream, const Shape& x_shape, const T* x, float* y);

template <class T>
void global_average_pool_backward(Stream stream, const Shape& x_shape, const float* dy, Write write,
                                  T* dx);

}  // namespace cuda
}  // namespace dfengine
