#include "kernels/cuda/partial_sums.cuh"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

// A block sums kColumns neighbouring results; its kSlices share the parts among them.
constexpr int kColumns = 32;
constexpr int kSlices = 8;

__global__ void __launch_bounds__(kColumns* kSlices)
    sum_partials_kernel(Index parts, Index count, const float* __restrict__ partials,
                        float* __restrict__ out) {
  DF_DYNAMIC_SHARED(memory);
  auto* const slices = reinterpret_cast<float*>(memory);  // [kSlices, kColumns]
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int slice = static_cast<int>(threadIdx.x) / kColumns;
  const Index at = Index{blockIdx.x} * kColumns + column;
  float sum = 0.0f;
  if (at < count) {
#pragma unroll 8
    for (Index part = slice; part < parts; part += kSlices) sum += partials[part * count + at];
  }
  slices[threadIdx.x] = sum;
  __syncthreads();
  if (slice != 0 || at >= count) return;
  for (int i = 1; i < kSlices; ++i) sum += slices[i * kColumns + column];
  out[at] = sum;
}

}  // namespace

void sum_partials(Stream stream, Index parts, Index count, const float* partials, float* out) {
  launch(stream, "sum of partial results", sum_partials_kernel, blocks(divide_up(count, kColumns)),
         kColumns * kSlices, kColumns * kSlices * sizeof(float), parts, count, partials, out);
}

}  // namespace dfengine::cuda
