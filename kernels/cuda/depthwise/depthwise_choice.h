// The choice between the kernels for a depthwise convolution that makes moments, and for its
// gradients.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/depthwise_conv.h"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda {

class Tuner;

// Forward in 16 bits. moments: as many bytes as the choice's scratch, aligned to 16 bytes. Returns
// where it leaves the moments of y.
template <class T>
using DepthwiseMomentsLaunch = ChannelMoments(Stream, const T* x, const T* w,
                                              const NormOnLoad& norm, void* moments, T* y);

// Without a tuner it is the kernel that rolls down strips; so it is where there is no norm on load.
template <class T>
Chosen<DepthwiseMomentsLaunch<T>> choose_depthwise_moments(Tuner* tuner, const DepthwiseProblem& p,
                                                           bool norm);

// Both gradients (depthwise_gradient.h). sums and scratch: as many bytes as the choice says,
// aligned to 16 bytes. Returns where it leaves the sums of dx.
template <class T>
using DepthwiseBackwardLaunch = GradientSums(Stream, const T* x, const T* y, const T* dy,
                                             const T* w, const NormOnLoad& norm,
                                             const GradientOnLoad& gradient, void* sums,
                                             void* scratch, float* dw, T* dx);

template <class T>
struct ChosenDepthwiseBackward {
  Choice choice;
  Index sums = 0, scratch = 0;  // bytes
  std::function<DepthwiseBackwardLaunch<T>> launch;
};

// gradient_on_load: whether the launches are given one.
template <class T>
ChosenDepthwiseBackward<T> choose_depthwise_backward(Tuner* tuner, const DepthwiseProblem& p,
                                                     bool gradient_on_load);

}  // namespace dfengine::cuda
