// Both gradients of a pointwise convolution with few outputs, in one pass over x and dy, with the
// sums that the batch norm before it needs (kernels/norm_gradient.h).
#pragma once

#include "kernels/norm_gradient.h"
#include "kernels/norm_on_load.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// Whether a block holds all outputs at once.
bool has_pointwise_backward_sums(const PointwiseProblem& p);

// In 16 bits, with a norm on load. The sums are in pointwise_sums_parts(p) parts, and scratch has
// pointwise_sums_scratch(p) floats.
Index pointwise_sums_parts(const PointwiseProblem& p);
Index pointwise_sums_scratch(const PointwiseProblem& p);

// x [m, c], dy [m, k], w [k, c]. dx is behind the activation of the norm of x. dw may be null.
// Throws Error for other parts, or where there is no such kernel.
template <class T>
void pointwise_backward_sums(Stream stream, const PointwiseProblem& p, const T* x, const T* dy,
                             const T* w, const NormOnLoad& norm, float* scratch, float* dw, T* dx,
                             const GradientSums& sums);

}  // namespace dfengine::cuda
