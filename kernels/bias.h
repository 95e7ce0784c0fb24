// Gradient of a bias: db[c] = sum_m dy[m][c].
// The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {
namespace cpu {

// dy [M, C], db [C].
template <class T>
void bias_backward(const Context& ctx, Index m, Index c, const T* dy, T* db);

}  // namespace cpu

namespace cuda {

// On the device all is in float, as the dense head is. scratch has bias_scratch(m, c) floats.
Index bias_scratch(Index m, Index c);
void bias_backward(Stream stream, Index m, Index c, const float* dy, float* scratch, float* db);

}  // namespace cuda
}  // namespace dfengine
