// Both gradients of a pointwise convolution that widens its input, in one pass over dy, which has
// still to take the last step of its batch norm (kernels/norm_gradient.h).
#pragma once

#include "kernels/norm_gradient.h"
#include "kernels/norm_on_load.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// Whether a block holds all channels of dy and x at once: then it reads both once.
bool has_pointwise_backward_on_load(const PointwiseProblem& p);

// Of floats: a dw for each part of the rows.
Index pointwise_on_load_scratch(const PointwiseProblem& p);

// In 16 bits. x [m, c], y [m, k], the convolution's result, dy [m, k]. dw may be null, and so may
// dx.
template <class T>
void pointwise_backward_on_load(Stream stream, const PointwiseProblem& p, const T* x, const T* y,
                                const T* dy, const T* w, const NormOnLoad& norm,
                                const GradientOnLoad& gradient, float* scratch, float* dw,
                                Write write, T* dx);

}  // namespace dfengine::cuda
