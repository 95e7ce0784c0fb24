// Exponential moving average of parameters: average += (1 - decay) * (value - average), where the
// step was applied. Written this way a value that stands still keeps its average's bits.
//
// Shapes       values and average [count].
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

namespace dfengine {
namespace cpu {

// decay: input->average_decay. Nothing moves where scalars->overflow is set.
template <class T>
void move_average(const Context& ctx, Index count, const StepInput* input,
                  const StepScalars* scalars, const T* values, T* average);

}  // namespace cpu
namespace cuda {

void move_average(Stream stream, Index count, const StepInput* input, const StepScalars* scalars,
                  const float* values, float* average);

}  // namespace cuda
}  // namespace dfengine
