// Sums and norm of all gradients on the device: a block serves kNormChunk neighbours.
#include "kernels/gradients.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    add_gradients_kernel(Index count, const float* __restrict__ gradients,
                         float* __restrict__ sum) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) sum[i] += gradients[i];
}

__global__ void __launch_bounds__(kThreads)
    take_gradients_kernel(Index count, const StepInput* __restrict__ input, float* __restrict__ sum,
                          float* __restrict__ gradients) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  gradients[i] = (gradients[i] + sum[i]) * static_cast<float>(input->gradient_scale);
  sum[i] = 0.0f;
}

// squares [blocks] = the sum of each block's squares. Gradients may be scaled: they are divided by
// the loss scale first, a power of two, lest their squares overflow.
__global__ void __launch_bounds__(kThreads)
    gradient_squares_kernel(Index count, const float* __restrict__ gradients,
                            const StepScalars* __restrict__ scalars, double* __restrict__ squares) {
  await_previous_kernels();
  const Index begin = Index{blockIdx.x} * kNormChunk;
  const Index end = begin + kNormChunk < count ? begin + kNormChunk : count;
  const float unscale = 1.0f / scalars->loss_scale;
  float sum = 0.0f;
  for (Index i = begin + threadIdx.x; i < end; i += kThreads) {
    const float g = gradients[i] * unscale;
    sum += g * g;
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = static_cast<double>(sum);
}

// squares [chunks + 1]: behind the sums, the factor of all gradients.
__global__ void clip_factor_kernel(Index chunks, double most, double* __restrict__ squares) {
  await_previous_kernels();
  double sum = 0;
  for (Index i = 0; i < chunks; ++i) sum += squares[i];
  const double factor = most / (sqrt(sum) + kNormEps);
  squares[chunks] = factor < 1 ? factor : 1.0;
}

__global__ void __launch_bounds__(kThreads)
    scale_gradients_kernel(Index count, const double* __restrict__ factor,
                           float* __restrict__ gradients) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) gradients[i] *= static_cast<float>(*factor);
}

}  // namespace

void add_gradients(Stream stream, Index count, const float* gradients, float* sum) {
  if (count == 0) return;
  launch(stream, "add_gradients", add_gradients_kernel, blocks(divide_up(count, kThreads)),
         kThreads, 0, count, gradients, sum);
}

void take_gradients(Stream stream, Index count, const StepInput* input, float* sum,
                    float* gradients) {
  if (count == 0) return;
  launch(stream, "take_gradients", take_gradients_kernel, blocks(divide_up(count, kThreads)),
         kThreads, 0, count, input, sum, gradients);
}

void clip_gradients(Stream stream, Index count, double most, const StepScalars* scalars,
                    double* scratch, float* gradients) {
  if (count == 0) return;
  const Index chunks = clip_scratch(count) - 1;
  launch(stream, "gradient_squares", gradient_squares_kernel, blocks(chunks), kThreads, 0, count,
         gradients, scalars, scratch);
  launch(stream, "clip_factor", clip_factor_kernel, blocks(1), 1, 0, chunks, most, scratch);
  launch(stream, "scale_gradients", scale_gradients_kernel, blocks(divide_up(count, kThreads)),
         kThreads, 0, count, scratch + chunks, gradients);
}

}  // namespace dfengine::cuda
