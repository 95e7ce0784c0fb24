// The choice between one kernel and two for the gradients of a pointwise convolution that leaves
// sums to a batch norm.
#pragma once

#include "kernels/cuda/pointwise/pointwise_choice.h"

namespace dfengine::cuda {

// Both gradients, in 16 bits. sums and scratch: as many bytes as the choice says, aligned to 16
// bytes. dw may be null. Returns where it leaves the sums of dx.
template <class T>
using PointwiseBackwardLaunch = GradientSums(Stream, const T* x, const T* dy, const T* w,
                                             const NormOnLoad& norm, void* sums, void* scratch,
                                             T* dx, float* dw);

template <class T>
struct ChosenBackward {
  // Of the two where the gradients are computed one by one, else both of the one kernel.
  Choice data, weight;
  Index sums = 0, scratch = 0;  // bytes
  std::function<PointwiseBackwardLaunch<T>> launch;
};

// Without a tuner it is the one kernel, where there is one (pointwise_backward_sums.h).
template <class T>
ChosenBackward<T> choose_pointwise_backward(Tuner* tuner, const PointwiseProblem& p);

}  // namespace dfengine::cuda
