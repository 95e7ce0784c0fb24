// The optimiser's side of a step on the device: overflow check, Adam over the whole parameter block
// in one launch, and the scalars that follow from it.
#include "kernels/adam.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

__device__ bool is_finite(float x) {
  return x - x == 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    check_finite_kernel(Index count, const float* __restrict__ values, StepScalars* scalars) {
  bool finite = true;
  for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += Index{gridDim.x} * kThreads)
    finite = finite && is_finite(values[i]);
  // Whoever writes, writes the same.
  if (!finite) scalars->overflow = 1;
}

struct AdamConstants {
  float beta1, beta2, eps;
  double beta1_exact, beta2_exact;
  bool decoupled;
};

// One block per chunk.
template <class T>
__global__ void __launch_bounds__(kThreads)
    adam_kernel(AdamConstants k, const StepScalars* __restrict__ scalars,
                const float* __restrict__ learning_rates, const AdamChunk* __restrict__ chunks,
                const float* __restrict__ grad, float* __restrict__ w, float* __restrict__ m,
                float* __restrict__ v, T* __restrict__ working) {
  if (scalars->overflow != 0) return;
  const AdamChunk chunk = chunks[blockIdx.x];
  // The corrections are differences of nearly equal numbers at first, so they are made in double.
  const double t = static_cast<double>(scalars->step + 1);
  const float correction1 = static_cast<float>(1.0 - pow(k.beta1_exact, t));
  const float correction2 = static_cast<float>(1.0 - pow(k.beta2_exact, t));
  const float lr = learning_rates[scalars->position];
  const float unscale = 1.0f / scalars->loss_scale;
  for (int at = static_cast<int>(threadIdx.x); at < chunk.count; at += kThreads) {
    const Index i = chunk.offset + at;
    float value = grad[i];
    if (!chunk.commit) {
      float g = value * unscale;
      value = w[i];
      if (k.decoupled) {
        value -= lr * chunk.weight_decay * value;
      } else {
        g = fmaf(chunk.weight_decay, value, g);
      }
      m[i] = k.beta1 * m[i] + (1.0f - k.beta1) * g;
      v[i] = k.beta2 * v[i] + (1.0f - k.beta2) * g * g;
      value -= lr * (m[i] / correction1) / (sqrtf(v[i] / correction2) + k.eps);
    }
    w[i] = value;
    if constexpr (sizeof(T) < sizeof(float))
      if (working != nullptr) working[i] = from_float<T>(value);
  }
}

__global__ void finish_step_kernel(StepScalars* scalars) {
  *scalars = next_scalars(*scalars);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(Index count, const float* __restrict__ from, T* __restrict__ to) {
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) to[i] = from_float<T>(from[i]);
}

}  // namespace

void check_finite(Stream stream, Index count, const float* values, StepScalars* scalars) {
  if (count == 0) return;
  constexpr Index kPerThread = 16;
  launch(stream, "check_finite", check_finite_kernel,
         blocks(divide_up(count, kThreads * kPerThread)), kThreads, 0, count, values, scalars);
}

template <class T>
void adam_update(Stream stream, const AdamProblem& p, const StepScalars* scalars,
                 const float* learning_rates, const AdamChunk* chunks, Index chunk_count,
                 const float* grad, float* w, float* m, float* v, T* working) {
  if (chunk_count == 0) return;
  const AdamConstants constants = {static_cast<float>(p.beta1),
                                   static_cast<float>(p.beta2),
                                   static_cast<float>(p.eps),
                                   p.beta1,
                                   p.beta2,
                                   p.decoupled};
  launch(stream, "adam", adam_kernel<T>, blocks(chunk_count), kThreads, 0, constants, scalars,
         learning_rates, chunks, grad, w, m, v, working);
}

void finish_step(Stream stream, StepScalars* scalars) {
  launch(stream, "finish_step", finish_step_kernel, blocks(1), 1, 0, scalars);
}

template <class T>
void cast(Stream stream, Index count, const float* from, T* to) {
  if (count == 0) return;
  launch(stream, "cast", cast_kernel<T>, blocks(divide_up(count, kThreads)), kThreads, 0, count,
         from, to);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void adam_update(Stream, const AdamProblem&, const StepScalars*, const float*,       \
                            const AdamChunk*, Index, const float*, float*, float*, float*, T*); \
  template void cast(Stream, Index, const float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
