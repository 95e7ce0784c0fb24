// Binary cross-entropy with logits on the device.
#include "kernels/bce_loss.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

void check_batch(Index n) {
  if (n < 1) throw ShapeError("binary cross-entropy: the batch is empty");
}

// One block: a batch has few logits.
__global__ void __launch_bounds__(kThreads)
    bce_forward_kernel(Index n, const float* __restrict__ logits, const float* __restrict__ targets,
                       float* __restrict__ result) {
  __shared__ float shared[2][kThreads / kWarpSize];
  float loss = 0.0f, right = 0.0f;
  for (Index i = threadIdx.x; i < n; i += kThreads) {
    const float z = logits[i], t = targets[i];
    loss += fmaxf(z, 0.0f) - z * t + log1pf(expf(-fabsf(z)));
    // fmaxf takes the other value for a NaN: the loss must stay one.
    if (z != z) loss = z;
    right += (z >= 0.0f) == (t > 0.5f) ? 1.0f : 0.0f;
  }
  loss = warp_sum(loss);
  right = warp_sum(right);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  if (threadIdx.x % kWarpSize == 0) shared[0][warp] = loss, shared[1][warp] = right;
  __syncthreads();
  if (threadIdx.x > 1) return;
  float sum = 0.0f;
  for (int i = 0; i < kThreads / kWarpSize; ++i) sum += shared[threadIdx.x][i];
  result[threadIdx.x] = threadIdx.x == 0 ? sum / static_cast<float>(n) : sum;
}

__global__ void __launch_bounds__(kThreads)
    bce_backward_kernel(Index n, const float* __restrict__ logits,
                        const float* __restrict__ targets, const StepScalars* __restrict__ scalars,
                        float* __restrict__ dlogits) {
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const float z = logits[i];
  const float e = expf(-fabsf(z));
  const float sigmoid = (z >= 0.0f ? 1.0f : e) / (1.0f + e);
  dlogits[i] = (sigmoid - targets[i]) / static_cast<float>(n) * scalars->loss_scale;
}

}  // namespace

void bce_forward(Stream stream, Index n, const float* logits, const float* targets, float* result) {
  check_batch(n);
  launch(stream, "bce_forward", bce_forward_kernel, blocks(1), kThreads, 0, n, logits, targets,
         result);
}

void bce_backward(Stream stream, Index n, const float* logits, const float* targets,
                  const StepScalars* scalars, float* dlogits) {
  check_batch(n);
  launch(stream, "bce_backward", bce_backward_kernel, blocks(divide_up(n, kThreads)), kThreads, 0,
         n, logits, targets, scalars, dlogits);
}

}  // namespace dfengine::cuda
