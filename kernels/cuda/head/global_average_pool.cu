// Global average pool on the GPU: a block sums the pixels of one image in 32 groups of eight
// channels, its slices of threads sharing the pixels.
#include "kernels/global_average_pool.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kGroups = 32;
constexpr int kSlices = 8;
constexpr int kThreads = kGroups * kSlices;
// Pixels that a thread loads before it adds the first.
constexpr int kBatch = 8;
// The floats from one channel of the eight to the next in shared memory. They are 4 more than the
// groups, so that eight channels times four groups are 32 different banks.
constexpr int kPitch = kGroups + 4;
constexpr int kSharedBytes = kSlices * kVector * kPitch * sizeof(float);

// x [n, pixels, c], y [n, c]. There is a block for each image and channel tile.
template <class T>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(int pixels, int c, unsigned tiles, const T* __restrict__ x, float* __restrict__ y) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  auto* const sums = reinterpret_cast<float*>(memory);  // [kSlices, kVector, kPitch]
  const int thread = static_cast<int>(threadIdx.x);
  const Index image = Index{blockIdx.x / tiles};
  const int first = static_cast<int>(blockIdx.x % tiles) * kGroups * kVector;
  const int group = thread % kGroups, slice = thread / kGroups;
  float sum[kVector] = {};
  if (first + group * kVector < c) {
    x += image * pixels * c + first + group * kVector;
    for (int i = slice; i < pixels; i += kBatch * kSlices) {
      Packed<T> batch[kBatch];
#pragma unroll
      for (int k = 0; k < kBatch; ++k) {
        // There is no branch, because a load under a condition would wait for the one before.
        const int pixel = i + k * kSlices < pixels ? i + k * kSlices : i;
        batch[k] = load_packed(x + Index{pixel} * c);
      }
#pragma unroll
      for (int k = 0; k < kBatch; ++k) {
        float v[kVector];
        unpack(batch[k], v);
#pragma unroll
        for (int j = 0; j < kVector; ++j) sum[j] += i + k * kSlices < pixels ? v[j] : 0.0f;
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) sums[(slice * kVector + j) * kPitch + group] = sum[j];
  __syncthreads();
  static_assert(kThreads == kGroups * kVector, "a thread per channel of the tile");
  if (first + thread >= c) return;
  float total = 0.0f;
#pragma unroll
  for (int s = 0; s < kSlices; ++s)
    total += sums[(s * kVector + thread % kVector) * kPitch + thread / kVector];
  y[image * c + first + thread] = total / static_cast<float>(pixels);
}

// The pixels of a thread of the gradient. Their dy is loaded once.
constexpr int kPixels = 8;

// dy [n, c], dx [n, pixels, c].
template <class T>
__global__ void __launch_bounds__(kThreads)
    pool_gradient_kernel(unsigned threads, int pixels, int c, unsigned strips, bool accumulate,
                         const float* __restrict__ dy, T* __restrict__ dx) {
  await_previous_kernels();
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  if (thread >= threads) return;
  const auto groups = static_cast<unsigned>(c) / kVector;
  const unsigned strip = thread / groups;
  const int channel = static_cast<int>(thread % groups) * kVector;
  const Index image = strip / strips;
  const int first = static_cast<int>(strip % strips) * kPixels;
  float gradient[kVector];
  load8(dy + image * c + channel, gradient);
#pragma unroll
  for (float& v : gradient) v /= static_cast<float>(pixels);
  dx += (image * pixels + first) * c + channel;
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    if (first + i >= pixels) return;
    float sum[kVector] = {};
    if (accumulate) load8(dx + Index{i} * c, sum);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sum[j] += gradient[j];
    store8(dx + Index{i} * c, sum);
  }
}

}  // namespace

template <class T>
void global_average_pool_forward(Stream stream, const Shape& x_shape, const T* x, float* y) {
  require_vectors("global average pool", x_shape.c, {x, y});
  const Index tiles = divide_up(x_shape.c, Index{kGroups} * kVector);
  launch(stream, "global average pool", pool_kernel<T>, blocks(x_shape.n * tiles), kThreads,
         kSharedBytes, x_shape.h * x_shape.w, x_shape.c, tiles, x, y);
}

template <class T>
void global_average_pool_backward(Stream stream, const Shape& x_shape, const float* dy, Write write,
                                  T* dx) {
  require_vectors("global average pool gradient", x_shape.c, {dy, dx});
  const Index pixels = x_shape.h * x_shape.w, strips = divide_up(pixels, kPixels);
  const unsigned threads = narrow_count("global average pool gradient", x_shape.n,
                                        x_shape.n * strips * (x_shape.c / kVector));
  launch(stream, "global average pool gradient", pool_gradient_kernel<T>,
         blocks(divide_up(threads, kThreads)), kThreads, 0, threads, pixels, x_shape.c, strips,
         write == Write::Accumulate, dy, dx);
}

#define DF_INSTANTIATE(T)                                                            \
  template void global_average_pool_forward(Stream, const Shape&, const T*, float*); \
  template void global_average_pool_backward(Stream, const Shape&, const float*, Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
