// Whether the depthwise convolution's backward kernels by tiles are right on the current device.
#pragma once

#include "kernels/depthwise_conv.h"

namespace dfengine::cuda {

// Throws DeviceError unless they compute, for a small problem with these channels, stride and
// padding, bit for bit what the kernels by strips do: of whole numbers, all of whose sums are
// exact. The numbers that a tuner times could not tell, for sums over a batch may differ by more
// than a small one's whole gradient is.
template <class T>
void check_depthwise_tiles(const DepthwiseProblem& p);

}  // namespace dfengine::cuda
