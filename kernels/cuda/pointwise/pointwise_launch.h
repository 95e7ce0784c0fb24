// What a plan keeps of the kernel that it chose for a pass of a pointwise convolution.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/cuda/stream.h"
#include "kernels/epilogue.h"
#include "kernels/norm_gradient.h"
#include "kernels/norm_on_load.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// The launches that are chosen, with the problem bound. scratch: as many bytes as the choice says,
// aligned to 16 bytes. norm: present if and only if the choice was made for one.
template <class T>
using PointwiseForwardLaunch = void(Stream, const T* x, const T* w,
                                    const Epilogue<T, float>& epilogue, const NormOnLoad& norm,
                                    void* scratch, T* y);
// Returns where in the scratch it leaves the moments of y.
template <class T>
using PointwiseMomentsLaunch = ChannelMoments(Stream, const T* x, const T* w,
                                              const NormOnLoad& norm, void* scratch, T* y);
template <class T>
using PointwiseBackwardDataLaunch = void(Stream, const T* dy, const T* w, Write write,
                                         void* scratch, T* dx);
// Returns where in the scratch it leaves the sums of dx.
template <class T>
using PointwiseGradientSumsLaunch = GradientSums(Stream, const T* dy, const T* w, const T* x,
                                                 const NormOnLoad& norm, void* scratch, T* dx);
template <class T>
using PointwiseBackwardWeightLaunch = void(Stream, const T* x, const T* dy, const NormOnLoad& norm,
                                           void* scratch, float* dw);

}  // namespace dfengine::cuda
