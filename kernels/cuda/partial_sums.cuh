// Second stage of the weight gradients: sums of partial results in a fixed order.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/shape.h"

namespace dfengine::cuda {

// out [count] = sum of partials [parts, count] over parts; the order depends on `parts` alone.
void sum_partials(Stream stream, Index parts, Index count, const float* partials, float* out);

}  // namespace dfengine::cuda
