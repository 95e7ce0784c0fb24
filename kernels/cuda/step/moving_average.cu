// Moving average of parameters on the device.
#include "kernels/moving_average.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    move_average_kernel(Index count, const StepInput* __restrict__ input,
                        const StepScalars* __restrict__ scalars, const float* __restrict__ values,
                        float* __restrict__ average) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count || scalars->overflow != 0) return;
  const auto rate = static_cast<float>(1.0 - input->average_decay);
  average[i] += rate * (values[i] - average[i]);
}

}  // namespace

void move_average(Stream stream, Index count, const StepInput* input, const StepScalars* scalars,
                  const float* values, float* average) {
  if (count == 0) return;
  launch(stream, "move_average", move_average_kernel, blocks(divide_up(count, kThreads)), kThreads,
         0, count, input, scalars, values, average);
}

}  // namespace dfengine::cuda
