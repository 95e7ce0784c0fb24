// Adam over a whole parameter block in one launch.
#include "kernels/adam.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

struct AdamConstants {
  float beta1, beta2, eps;
  double beta1_exact, beta2_exact;
  bool decoupled;
};

// One block per chunk.
template <class T>
__global__ void __launch_bounds__(kThreads)
    adam_kernel(AdamConstants k, const StepScalars* __restrict__ scalars,
                const StepInput* __restrict__ input, const AdamChunk* __restrict__ chunks,
                const float* __restrict__ grad, const float* __restrict__ next, Index learned,
                float* __restrict__ w, float* __restrict__ m, float* __restrict__ v,
                T* __restrict__ working) {
  await_previous_kernels();
  if (scalars->overflow != 0) return;
  const AdamChunk chunk = chunks[blockIdx.x];
  // The corrections are differences of nearly equal numbers at first, so they are made in double,
  // by one thread each: most GPUs have few units for that.
  __shared__ float corrections[2];
  if (threadIdx.x < 2)
    corrections[threadIdx.x] =
        static_cast<float>(1.0 - pow(threadIdx.x == 0 ? k.beta1_exact : k.beta2_exact,
                                     static_cast<double>(scalars->step + 1)));
  __syncthreads();
  const float correction1 = corrections[0], correction2 = corrections[1];
  const float lr = static_cast<float>(input->learning_rate) * chunk.rate;
  const float unscale = 1.0f / scalars->loss_scale;
  for (int at = static_cast<int>(threadIdx.x); at < chunk.count; at += kThreads) {
    const Index i = chunk.offset + at;
    float value = 0.0f;
    if (chunk.commit) {
      value = next[i - learned];
    } else {
      float g = grad[i] * unscale;
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

}  // namespace

template <class T>
void adam_update(Stream stream, const AdamProblem& p, const StepScalars* scalars,
                 const StepInput* input, const AdamChunk* chunks, Index chunk_count,
                 const float* grad, const float* next, Index learned, float* w, float* m, float* v,
                 T* working) {
  if (chunk_count == 0) return;
  const AdamConstants constants = {static_cast<float>(p.beta1),
                                   static_cast<float>(p.beta2),
                                   static_cast<float>(p.eps),
                                   p.beta1,
                                   p.beta2,
                                   p.decoupled};
  launch(stream, "adam", adam_kernel<T>, blocks(chunk_count), kThreads, 0, constants, scalars,
         input, chunks, grad, next, learned, w, m, v, working);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void adam_update(Stream, const AdamProblem&, const StepScalars*, const StepInput*,   \
                            const AdamChunk*, Index, const float*, const float*, Index, float*, \
                            float*, float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
