// Depthwise convolutions of training on tensor cores, tile by tile in shared memory: other kernels
// for what depthwise_moments.h and depthwise_gradient.h have, which a tuner may choose. In 16 bits,
// with a norm on load.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/depthwise_conv.h"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda {

// Whether a picture has few enough values to be counted, less than 2^31.
bool has_depthwise_tiles(const DepthwiseProblem& p);
// And, beside that, whether its block's sums fit into shared memory.
bool has_depthwise_tiles_backward(const DepthwiseProblem& p);

// As depthwise_forward_moments. The moments may be in any number of parts.
Index depthwise_tiles_moment_parts(const DepthwiseProblem& p);
template <class T>
void depthwise_tiles_forward(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                             const NormOnLoad& norm, T* y, const ChannelMoments& moments);

// As depthwise_backward_sums. The sums are in any number of parts, for each of which scratch has 9
// c floats.
Index depthwise_tiles_gradient_parts(const DepthwiseProblem& p);
template <class T>
void depthwise_tiles_backward(Stream stream, const DepthwiseProblem& p, const T* x, const T* y,
                              const T* dy, const T* w, const NormOnLoad& norm,
                              const GradientOnLoad& gradient, float* scratch, float* dw, T* dx,
                              const GradientSums& sums);

}  // namespace dfengine::cuda
