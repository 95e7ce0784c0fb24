// What a training step on the device ends with: overflow check, record, scalars.
#include "kernels/step.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

__device__ bool is_finite(float x) {
  return x - x == 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    check_finite_kernel(Index count, const float* __restrict__ values, StepScalars* scalars) {
  await_previous_kernels();
  bool finite = true;
  for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += Index{gridDim.x} * kThreads)
    finite = finite && is_finite(values[i]);
  // Whoever writes, writes the same.
  if (!finite) scalars->overflow = 1;
}

// One block: a batch has few logits.
__global__ void __launch_bounds__(kThreads)
    record_step_kernel(Index n, const float* __restrict__ logits, const float* __restrict__ targets,
                       const float* __restrict__ loss, const StepScalars* __restrict__ scalars,
                       StepRecord* __restrict__ records) {
  await_previous_kernels();
  float right = 0.0f;
  for (Index i = threadIdx.x; i < n; i += kThreads)
    right += (logits[i] >= 0.0f) == (targets[i] > 0.5f) ? 1.0f : 0.0f;
  right = block_sum<kThreads>(right);
  if (threadIdx.x == 0) records[scalars->position % kStepRecords] = {*loss, right};
}

__global__ void record_sums_kernel(const double* sums, double whole, const StepScalars* scalars,
                                   StepRecord* records) {
  await_previous_kernels();
  records[scalars->position % kStepRecords] = {static_cast<float>(sums[0] / whole),
                                               static_cast<float>(sums[1])};
}

__global__ void finish_step_kernel(StepScalars* scalars) {
  await_previous_kernels();
  *scalars = next_scalars(*scalars);
}

__global__ void wait_step_kernel(StepScalars* scalars) {
  await_previous_kernels();
  *scalars = waiting_scalars(*scalars);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(Index count, const float* __restrict__ from, T* __restrict__ to) {
  await_previous_kernels();
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

void record_step(Stream stream, Index n, const float* logits, const float* targets,
                 const float* loss, const StepScalars* scalars, StepRecord* records) {
  launch(stream, "record_step", record_step_kernel, blocks(1), kThreads, 0, n, logits, targets,
         loss, scalars, records);
}

void record_sums(Stream stream, const double* sums, Index whole, const StepScalars* scalars,
                 StepRecord* records) {
  launch(stream, "record_sums", record_sums_kernel, blocks(1), 1, 0, sums,
         static_cast<double>(whole), scalars, records);
}

void finish_step(Stream stream, StepScalars* scalars) {
  launch(stream, "finish_step", finish_step_kernel, blocks(1), 1, 0, scalars);
}

void wait_step(Stream stream, StepScalars* scalars) {
  launch(stream, "wait_step", wait_step_kernel, blocks(1), 1, 0, scalars);
}

template <class T>
void cast(Stream stream, Index count, const float* from, T* to) {
  if (count == 0) return;
  launch(stream, "cast", cast_kernel<T>, blocks(divide_up(count, kThreads)), kThreads, 0, count,
         from, to);
}

#define DF_INSTANTIATE(T) template void cast(Stream, Index, const float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
