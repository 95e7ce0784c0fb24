// Pointwise convolutions of a plan: the choice between own tiles and cuBLASLt for each product, and
// the launchers that do as chosen.
#pragma once

#include "kernels/cuda/tuning/choice.h"

namespace dfengine::cuda {

class Tuner;

// Null tuner: by the rule. T = float has one kernel and nothing to choose. The data gradient is
// timed overwriting; the same kernel then adds where a plan asks for it. norm: a norm will be
// applied to x as it is loaded, which own tiles alone can do.
template <class T>
ChoicePtr choose_pointwise_forward(Tuner* tuner, const PointwiseProblem& p,
                                   const EpilogueForm& form, bool norm);
template <class T>
ChoicePtr choose_pointwise_backward_data(Tuner* tuner, const PointwiseProblem& p);
template <class T>
ChoicePtr choose_pointwise_backward_weight(Tuner* tuner, const PointwiseProblem& p, bool norm);

// The launchers of kernels/pointwise_conv.h, as chosen; null: by the rule. scratch:
// choice->kernel.scratch bytes, for null what the rule takes. A norm is there if and only if the
// choice was made for one.
template <class T>
void pointwise_forward(Stream stream, const Choice* choice, const PointwiseProblem& p, const T* x,
                       const T* w, const Epilogue<T, float>& epilogue, void* scratch, T* y,
                       const NormOnLoad& norm);
template <class T>
void pointwise_backward_data(Stream stream, const Choice* choice, const PointwiseProblem& p,
                             const T* dy, const T* w, Write write, void* scratch, T* dx);
template <class T>
void pointwise_backward_weight(Stream stream, const Choice* choice, const PointwiseProblem& p,
                               const T* x, const T* dy, void* scratch, float* dw,
                               const NormOnLoad& norm);

}  // namespace dfengine::cuda
