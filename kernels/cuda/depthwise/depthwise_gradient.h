// Both gradients of the depthwise convolution in one pass, with the sums that the batch norm before
// it needs (kernels/norm_gradient.h).
#pragma once

#include "kernels/depthwise_conv.h"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda {

// Whether the kernel can count the values of x, which it does in 32 bits.
bool has_depthwise_backward_sums(const Shape& x);

// In 16 bits, with a norm on load. The sums are in depthwise_gradient_parts(p) parts, and scratch
// has depthwise_gradient_scratch(p) floats.
Index depthwise_gradient_parts(const DepthwiseProblem& p);
Index depthwise_gradient_scratch(const DepthwiseProblem& p);

// x [n, h, w, c], dy [n, p, q, c]. dx is behind the activation of the norm of x. y, the result of
// the convolution, is read where dy has still to take the last step of its batch norm; else it may
// be null, as dw may.
template <class T>
void depthwise_backward_sums(Stream stream, const DepthwiseProblem& p, const T* x, const T* y,
                             const T* dy, const T* w, const NormOnLoad& norm,
                             const GradientOnLoad& gradient, float* scratch, float* dw, T* dx,
                             const GradientSums& sums);

}  // namespace dfengine::cuda
