// Global average pool: y[n][c] = mean over h, w of x[n][h][w][c]; dx = dy / (H * W).
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine::cpu {

// x [N, H, W, C] of the given shape, y [N, C]. Sums in T, fixed order.
template <class T>
void global_average_pool_forward(const Context& ctx, const Shape& x_shape, const T* x, T* y);

template <class T>
void global_average_pool_backward(const Context& ctx, const Shape& x_shape, const T* dy,
                                  Write write, T* dx);

}  // namespace dfengine::cpu
