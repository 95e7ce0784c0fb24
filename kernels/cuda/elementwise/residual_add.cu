// Residual add on the device.
#include "kernels/residual_add.h"

#include "kernels/cuda/elementwise/elementwise.cuh"

namespace dfengine::cuda {
namespace {

struct Add {
  __device__ void operator()(float (&v)[kVector], const float (&old)[kVector]) const {
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] += old[i];
  }
};

}  // namespace

template <class T>
void residual_add(Stream stream, Index count, const T* a, const T* b, T* y) {
  elementwise(stream, "residual_add", count, Add{}, a, b, y);
}

template <class T>
void residual_add_backward(Stream stream, Index count, const T* dy, Write write, T* dx) {
  elementwise(stream, "residual_add_backward", count, Add{}, dy,
              write == Write::Accumulate ? static_cast<const T*>(dx) : nullptr, dx);
}

#define DF_INSTANTIATE(T)                                            \
  template void residual_add(Stream, Index, const T*, const T*, T*); \
  template void residual_add_backward(Stream, Index, const T*, Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
