// What happens to all gradients of a step together, before the update.
//   add    sum += g                       of a step whose gradients wait for the next
//   take   g = (g + sum) * scale, sum = 0 of the step that ends the wait
//   clip   g *= min(1, most / (norm + 1e-6)), norm = |g| / loss scale, as PyTorch's clip_grad_norm_
//
// Shapes       gradients and sum [count].
// Aliasing     None of them overlap.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

namespace dfengine {

// The norm's squares are added up over so many neighbours, then over these sums in their order.
inline constexpr Index kNormChunk = 4096;
// Doubles of scratch that clipping needs.
constexpr Index clip_scratch(Index count) {
  return divide_up(count, kNormChunk) + 1;
}
// PyTorch's, so that a norm of zero divides nothing by zero.
inline constexpr double kNormEps = 1e-6;

namespace cpu {

template <class T>
void add_gradients(const Context& ctx, Index count, const T* gradients, T* sum);
template <class T>
void take_gradients(const Context& ctx, Index count, const StepInput* input, T* sum, T* gradients);
// scratch [clip_scratch(count)].
template <class T>
void clip_gradients(const Context& ctx, Index count, double most, const StepScalars* scalars,
                    double* scratch, T* gradients);

}  // namespace cpu

// On the device gradients are floats.
namespace cuda {

void add_gradients(Stream stream, Index count, const float* gradients, float* sum);
void take_gradients(Stream stream, Index count, const StepInput* input, float* sum,
                    float* gradients);
// scratch [clip_scratch(count)].
void clip_gradients(Stream stream, Index count, double most, const StepScalars* scalars,
                    double* scratch, float* gradients);

}  // namespace cuda
}  // namespace dfengine
