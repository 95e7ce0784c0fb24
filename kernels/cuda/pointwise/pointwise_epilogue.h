// The epilogue of a pointwise convolution as a pass of its own, for products that have none.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/epilogue.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// y [m, k] = activation(y + bias) + residual. Each y has been rounded to T once before.
template <class T>
void pointwise_epilogue(Stream stream, const PointwiseProblem& p,
                        const Epilogue<T, float>& epilogue, T* y);

}  // namespace dfengine::cuda
