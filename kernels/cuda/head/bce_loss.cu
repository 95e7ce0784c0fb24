// Binary cross-entropy with logits on the device.
#include "kernels/bce_loss.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

struct Weights {
  float real, fake;
};

Weights in_float(const BceWeights& weights) {
  return {static_cast<float>(weights.real), static_cast<float>(weights.fake)};
}

void check_batch(Index n) {
  if (n < 1) throw ShapeError("binary cross-entropy: the batch is empty");
}

__device__ float loss_of(float z, float t, const Weights& weights) {
  // The loss of a NaN must stay one. fmaxf would take the other value.
  const float above = z < 0.0f ? 0.0f : z;
  const float both = weights.real * (1.0f - t) + weights.fake * t;
  return both * above - weights.fake * (z * t) + both * log1pf(expf(-fabsf(z)));
}

// One block is enough, because a batch has few logits.
__global__ void __launch_bounds__(kThreads)
    bce_forward_kernel(Index n, const float* __restrict__ logits, const float* __restrict__ targets,
                       Weights weights, float* __restrict__ loss) {
  await_previous_kernels();
  float sum = 0.0f;
  for (Index i = threadIdx.x; i < n; i += kThreads) sum += loss_of(logits[i], targets[i], weights);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *loss = sum / static_cast<float>(n);
}

__global__ void __launch_bounds__(kThreads)
    bce_sums_kernel(Index n, const float* __restrict__ logits, const float* __restrict__ targets,
                    Weights weights, double* __restrict__ sums) {
  await_previous_kernels();
  float sum = 0.0f, right = 0.0f;
  for (Index i = threadIdx.x; i < n; i += kThreads) {
    sum += loss_of(logits[i], targets[i], weights);
    right += (logits[i] >= 0.0f) == (targets[i] > 0.5f) ? 1.0f : 0.0f;
  }
  sum = block_sum<kThreads>(sum);
  __syncthreads();
  right = block_sum<kThreads>(right);
  if (threadIdx.x != 0) return;
  sums[0] = double{sum};
  sums[1] = double{right};
}

__global__ void __launch_bounds__(kThreads)
    bce_backward_kernel(Index n, const float* __restrict__ logits,
                        const float* __restrict__ targets, const StepScalars* __restrict__ scalars,
                        Weights weights, float whole, float* __restrict__ dlogits) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const float z = logits[i];
  const float e = expf(-fabsf(z));
  const float sigmoid = (z >= 0.0f ? 1.0f : e) / (1.0f + e);
  const float t = targets[i], both = weights.real * (1.0f - t) + weights.fake * t;
  dlogits[i] = (both * sigmoid - weights.fake * t) / whole * scalars->loss_scale;
}

}  // namespace

void bce_forward(Stream stream, Index n, const float* logits, const float* targets, float* loss,
                 const BceWeights& weights) {
  check_batch(n);
  launch(stream, "bce_forward", bce_forward_kernel, blocks(1), kThreads, 0, n, logits, targets,
         in_float(weights), loss);
}

void bce_sums(Stream stream, Index n, const float* logits, const float* targets, double* sums,
              const BceWeights& weights) {
  check_batch(n);
  launch(stream, "bce_sums", bce_sums_kernel, blocks(1), kThreads, 0, n, logits, targets,
         in_float(weights), sums);
}

void bce_backward(Stream stream, Index n, const float* logits, const float* targets,
                  const StepScalars* scalars, float* dlogits, const BceWeights& weights,
                  Index whole) {
  check_batch(n);
  launch(stream, "bce_backward", bce_backward_kernel, blocks(divide_up(n, kThreads)), kThreads, 0,
         n, logits, targets, scalars, in_float(weights), static_cast<float>(whole > 0 ? whole : n),
         dlogits);
}

}  // namespace dfengine::cuda
