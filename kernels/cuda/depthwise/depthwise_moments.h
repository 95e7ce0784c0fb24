// The depthwise forward pass that leaves the moments of y to a batch norm
// (kernels/channel_moments.h).
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::cuda {

// Without an epilogue, in 16 bits. The moments may be in any number of parts;
// depthwise_moment_parts(p) of them fill a GPU.
Index depthwise_moment_parts(const DepthwiseProblem& p);
template <class T>
void depthwise_forward_moments(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments);

}  // namespace dfengine::cuda
