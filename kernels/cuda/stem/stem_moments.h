// The stem's forward pass that leaves the moments of y to a batch norm (kernels/channel_moments.h).
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

// Without an epilogue, in 16 bits. The moments may be in any number of parts; stem_moment_parts(p)
// of them fill a GPU.
Index stem_moment_parts(const StemProblem& p);
template <class T>
void stem_forward_moments(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* w,
                          T* y, const ChannelMoments& moments);

}  // namespace dfengine::cuda
