// Pixels to network input on the GPU: y = x * scale[c] + shift[c], uint8 in, T out.
#include "kernels/image_normalize.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pixels.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;
// Eight RGB pixels are 24 bytes in and whole 16-byte vectors out, and each element's channel is
// known at compile time.
constexpr int kRowsPerThread = 8;
constexpr int kValues = kRowsPerThread * 3;

template <class T>
__device__ void normalize_rows(const PixelAffine& affine, const std::uint8_t* x, T* y) {
  union {
    uint2 words[kValues / 8];
    std::uint8_t bytes[kValues];
  } in;
#pragma unroll
  for (int i = 0; i < kValues / 8; ++i) in.words[i] = reinterpret_cast<const uint2*>(x)[i];
#pragma unroll
  for (int first = 0; first < kValues; first += kVector) {
    float v[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i)
      v[i] = normalized(affine, (first + i) % 3, in.bytes[first + i]);
    store8(y + first, v);
  }
}

// One thread per eight rows; the last thread may own fewer.
template <class T>
__global__ void __launch_bounds__(kThreads)
    image_normalize_kernel(PixelAffine affine, Index rows, const std::uint8_t* __restrict__ x,
                           T* __restrict__ y) {
  await_previous_kernels();
  const Index first = (Index{blockIdx.x} * kThreads + threadIdx.x) * kRowsPerThread;
  if (first >= rows) return;
  x += first * 3;
  y += first * 3;
  if (rows - first >= kRowsPerThread) return normalize_rows(affine, x, y);
  const int left = static_cast<int>(rows - first) * 3;
  for (int i = 0; i < left; ++i) y[i] = from_float<T>(normalized(affine, i % 3, x[i]));
}

}  // namespace

template <class T>
void image_normalize(Stream stream, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, T* y) {
  if (rows == 0) return;
  launch(stream, "image_normalize", image_normalize_kernel<T>,
         blocks(divide_up(rows, Index{kThreads} * kRowsPerThread)), kThreads, 0,
         PixelAffine::of(mean, std_dev), rows, x, y);
}

#define DF_INSTANTIATE(T)                                                        \
  template void image_normalize(Stream, Index, const double[3], const double[3], \
                                const std::uint8_t*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
