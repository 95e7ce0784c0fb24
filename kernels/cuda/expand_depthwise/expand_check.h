// Whether expansions that are not stored can be trusted on a device.
#pragma once

#include "kernels/expand_depthwise.h"

namespace dfengine::cuda {

// Computes a few pictures with as many channels, the stride, the padding and the activation of the
// problem in both ways: without storing the wide values, and by the convolutions and batch norms
// that store them. Throws DeviceError, naming what differs: a bit where numbers are whole, and more
// than rounding where they are not. Waits for the stream.
template <class T>
void check_expand_depthwise(Stream stream, const ExpandDepthwiseProblem& p);

}  // namespace dfengine::cuda
