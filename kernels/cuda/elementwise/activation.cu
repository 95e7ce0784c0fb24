// ReLU and ReLU6 on the device.
#include "kernels/activation.h"

#include "kernels/cuda/elementwise/elementwise.cuh"

namespace dfengine::cuda {
namespace {

struct Forward {
  Activation act;
  __device__ void operator()(float (&v)[kVector], const float (&)[kVector]) const {
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = clamp(act, v[i]);
  }
};

// A gradient that is added to what is there needs three inputs, so it has a kernel of its own.
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    activation_backward_kernel(Activation act, Index count, const T* __restrict__ y, const T* dy,
                               bool accumulate, T* dx) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kElementThreads + threadIdx.x;
  if (i >= count) return;
  const float g = passes_gradient(act, to_float(y[i])) ? to_float(dy[i]) : 0.0f;
  dx[i] = from_float<T>(accumulate ? to_float(dx[i]) + g : g);
}

}  // namespace

template <class T>
void activation_forward(Stream stream, Activation act, Index count, const T* x, T* y) {
  elementwise(stream, "activation", count, Forward{act}, x, static_cast<const T*>(nullptr), y);
}

template <class T>
void activation_backward(Stream stream, Activation act, Index count, const T* y, const T* dy,
                         Write write, T* dx) {
  if (count == 0) return;
  launch(stream, "activation_backward", activation_backward_kernel<T>,
         blocks(divide_up(count, kElementThreads)), kElementThreads, 0, act, count, y, dy,
         write == Write::Accumulate, dx);
}

#define DF_INSTANTIATE(T)                                                    \
  template void activation_forward(Stream, Activation, Index, const T*, T*); \
  template void activation_backward(Stream, Activation, Index, const T*, const T*, Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
