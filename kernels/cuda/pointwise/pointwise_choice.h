// The choice between own tiles and cuBLASLt for each pass of a pointwise convolution.
#pragma once

#include "kernels/cuda/pointwise/pointwise_launch.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/cuda/tuning/libraries.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

class Tuner;

// Without a tuner the rule chooses. T = float has one kernel, "own". The data gradient is timed
// overwriting; the same kernel then adds where a plan asks for it. form: the epilogue of the
// launches. norm: whether a norm will be applied to x as it is loaded, which own kernels alone can
// do.
template <class T>
Chosen<PointwiseForwardLaunch<T>> choose_pointwise_forward(Tuner* tuner, const PointwiseProblem& p,
                                                           const EpilogueForm& form, bool norm);
// The forward pass that leaves the moments of y to a batch norm (kernels/channel_moments.h), in 16
// bits, timed with the merging of these moments. Own kernels alone can; a plan compares the chosen
// one with any kernel and one more pass over y.
template <class T>
Chosen<PointwiseMomentsLaunch<T>> choose_pointwise_moments(Tuner* tuner, const PointwiseProblem& p,
                                                           bool norm);
template <class T>
Chosen<PointwiseBackwardDataLaunch<T>> choose_pointwise_backward_data(Tuner* tuner,
                                                                      const PointwiseProblem& p);
// The data gradient that leaves its sums to a batch norm (kernels/norm_gradient.h), in 16 bits,
// timed with the merging of these sums. Own kernels alone can.
template <class T>
Chosen<PointwiseGradientSumsLaunch<T>> choose_pointwise_gradient_sums(Tuner* tuner,
                                                                      const PointwiseProblem& p);
template <class T>
Chosen<PointwiseBackwardWeightLaunch<T>> choose_pointwise_backward_weight(Tuner* tuner,
                                                                          const PointwiseProblem& p,
                                                                          bool norm);

// A library's kernel as such a launch. Forward adds bias and activation in a pass over y. It throws
// Error where it would leave out a norm, or overwrite a residual.
template <class T>
std::function<PointwiseForwardLaunch<T>> library_forward(const PointwiseProblem& p,
                                                         std::function<LibraryLaunch> library);
template <class T>
std::function<PointwiseBackwardWeightLaunch<T>> library_backward_weight(
    std::function<LibraryLaunch> library);

}  // namespace dfengine::cuda
