// Inverted dropout: y = x * keep / (1 - rate), keep drawn from (seed, step, element index).
// The mask is not stored: backward draws the same numbers again.
// Aliasing: y may be x, dx may be dy.
#pragma once

#include <cstdint>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

namespace dfengine {
namespace cpu {

// keep element i when uniform(seed, RandomStream::Dropout, step, first + i) >= rate; 0 <= rate < 1.
template <class T>
void dropout_forward(const Context& ctx, Index count, double rate, const StepInput* input,
                     const T* x, T* y, Index first = 0);

template <class T>
void dropout_backward(const Context& ctx, Index count, double rate, const StepInput* input,
                      const T* dy, Write write, T* dx, Index first = 0);

}  // namespace cpu

// On the device, in float: dropout stands in the head. Elements are drawn as on the CPU. The
// seed and the step are read from device memory, so that a captured step draws new numbers each
// time it runs. Throws UsageError for a bad rate.
namespace cuda {

void dropout_forward(Stream stream, Index count, double rate, const StepInput* input,
                     const float* x, float* y, Index first = 0);
void dropout_backward(Stream stream, Index count, double rate, const StepInput* input,
                      const float* dy, Write write, float* dx, Index first = 0);

}  // namespace cuda
}  // namespace dfengine
