// ReLU and ReLU6, element by element. As in PyTorch, the gradient is 1 strictly between the bounds
// and 0 elsewhere. y may be x, and dx may be dy.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {
namespace cpu {

template <class T>
void activation_forward(const Context& ctx, Activation act, Index count, const T* x, T* y);

// The output y decides where the gradient passes: at 0 < y for ReLU and at 0 < y < 6 for ReLU6.
template <class T>
void activation_backward(const Context& ctx, Activation act, Index count, const T* y, const T* dy,
                         Write write, T* dx);

}  // namespace cpu

// On the device T is Half, BFloat16 or float. Pointers are aligned to 16 bytes.
namespace cuda {

template <class T>
void activation_forward(Stream stream, Activation act, Index count, const T* x, T* y);

template <class T>
void activation_backward(Stream stream, Activation act, Index count, const T* y, const T* dy,
                         Write write, T* dx);

}  // namespace cuda
}  // namespace dfengine
