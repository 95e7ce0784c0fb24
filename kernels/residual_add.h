// y = a + b, and its gradient: da (+)= dy, db (+)= dy. y may be a or b.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {
namespace cpu {

template <class T>
void residual_add(const Context& ctx, Index count, const T* a, const T* b, T* y);

// One side of the gradient.
template <class T>
void residual_add_backward(const Context& ctx, Index count, const T* dy, Write write, T* dx);

}  // namespace cpu

// On the device T is Half, BFloat16 or float. Sums are in float and rounded once. Pointers are
// aligned to 16 bytes.
namespace cuda {

template <class T>
void residual_add(Stream stream, Index count, const T* a, const T* b, T* y);

template <class T>
void residual_add_backward(Stream stream, Index count, const T* dy, Write write, T* dx);

}  // namespace cuda
}  // namespace dfengine
