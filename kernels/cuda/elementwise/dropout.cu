// Inverted dropout on the device: four elements share one philox call, as on the CPU.
#include "kernels/dropout.h"

#include <string>

#include "kernels/base/random.h"
#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWords = 4;  // numbers one philox call gives

__global__ void __launch_bounds__(kThreads)
    dropout_kernel(Index first, Index count, std::uint32_t drop_below, float scale,
                   const StepInput* __restrict__ input, const float* x, bool accumulate, float* y) {
  await_previous_kernels();
  const Index call = first / kWords + Index{blockIdx.x} * kThreads + threadIdx.x;
  if (call * kWords >= first + count) return;
  const auto words =
      philox(input->seed, RandomStream::Dropout, input->step, static_cast<std::uint32_t>(call));
  for (int word = 0; word < kWords; ++word) {
    const Index i = call * kWords + word - first;
    if (i < 0) continue;
    if (i >= count) return;
    const bool keep = (words[static_cast<std::size_t>(word)] >> 8) >= drop_below;
    const float v = keep ? x[i] * scale : 0.0f;
    y[i] = accumulate ? y[i] + v : v;
  }
}

void dropout(Stream stream, Index count, double rate, const StepInput* input, const float* x,
             bool accumulate, float* y, Index first) {
  if (!(rate >= 0.0 && rate < 1.0))
    throw UsageError("dropout rate " + std::to_string(rate) + ": must be in [0, 1)");
  if (count == 0) return;
  // The CPU keeps where word * 2^-24 >= rate: the same as word >= ceil(rate * 2^24).
  const auto drop_below = static_cast<std::uint32_t>(std::ceil(rate * 0x1p24));
  launch(stream, "dropout", dropout_kernel,
         blocks(divide_up(first % kWords + count, Index{kThreads} * kWords)), kThreads, 0, first,
         count, drop_below, static_cast<float>(1.0 / (1.0 - rate)), input, x, accumulate, y);
}

}  // namespace

void dropout_forward(Stream stream, Index count, double rate, const StepInput* input,
                     const float* x, float* y, Index first) {
  dropout(stream, count, rate, input, x, false, y, first);
}

void dropout_backward(Stream stream, Index count, double rate, const StepInput* input,
                      const float* dy, Write write, float* dx, Index first) {
  dropout(stream, count, rate, input, dy, write == Write::Accumulate, dx, first);
}

}  // namespace dfengine::cuda
