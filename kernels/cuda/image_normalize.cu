// Pixels to network input on the GPU: y = x * scale[c] + shift[c], uint8 in, half out.
#include "kernels/cuda/image_normalize.cuh"

#include "kernels/cuda/check.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;
// Four RGB pixels are 12 bytes in and 24 bytes out: whole aligned words on both sides, and each
// element's channel is known at compile time.
constexpr int kRowsPerThread = 4;
constexpr int kValues = kRowsPerThread * 3;

struct Affine {
  float scale[3];
  float shift[3];
};

__device__ __half normalized(const Affine& affine, int channel, std::uint8_t x) {
  return __float2half_rn(fmaf(static_cast<float>(x), affine.scale[channel], affine.shift[channel]));
}

__device__ void normalize_four_rows(const Affine& affine, const std::uint8_t* x, __half* y) {
  alignas(4) std::uint8_t in[kValues];
  alignas(8) __half out[kValues];
#pragma unroll
  for (int word = 0; word < kValues / 4; ++word)
    reinterpret_cast<std::uint32_t*>(in)[word] = reinterpret_cast<const std::uint32_t*>(x)[word];
#pragma unroll
  for (int i = 0; i < kValues; ++i) out[i] = normalized(affine, i % 3, in[i]);
#pragma unroll
  for (int word = 0; word < kValues / 4; ++word)
    reinterpret_cast<uint2*>(y)[word] = reinterpret_cast<const uint2*>(out)[word];
}

// One thread per four rows; the last thread may own fewer.
__global__ void image_normalize_kernel(Affine affine, Index rows,
                                       const std::uint8_t* __restrict__ x,  // [rows, 3]
                                       __half* __restrict__ y) {            // [rows, 3]
  const Index first = (Index{blockIdx.x} * kThreads + threadIdx.x) * kRowsPerThread;
  if (first >= rows) return;
  x += first * 3;
  y += first * 3;
  if (rows - first >= kRowsPerThread) {
    normalize_four_rows(affine, x, y);
    return;
  }
  const int left = static_cast<int>(rows - first) * 3;
  for (int i = 0; i < left; ++i) y[i] = normalized(affine, i % 3, x[i]);
}

}  // namespace

void image_normalize(cudaStream_t stream, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, __half* y) {
  if (rows == 0) return;
  Affine affine{};
  for (int c = 0; c < 3; ++c) {
    affine.scale[c] = static_cast<float>(1.0 / (255.0 * std_dev[c]));
    affine.shift[c] = static_cast<float>(-mean[c] / std_dev[c]);
  }
  constexpr Index kRowsPerBlock = Index{kThreads} * kRowsPerThread;
  const auto blocks = static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock);
  image_normalize_kernel<<<blocks, kThreads, 0, stream>>>(affine, rows, x, y);
  check_launch("image_normalize_kernel");
}

}  // namespace dfengine::cuda
