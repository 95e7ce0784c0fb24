// Column sums: warps take turns in a range's rows, then their sums are added in order.
#include "kernels/cuda/ordered_sum.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kUnroll = 4;

// A block sums 32 columns (x) of one range (y).
__global__ void __launch_bounds__(kWarps* kWarpSize)
    ordered_sum_kernel(Index rows, Index count, Index rows_per_range, const float* __restrict__ in,
                       float* __restrict__ sums) {
  await_previous_kernels();
  __shared__ float partial[kWarps][kWarpSize];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const Index column = Index{blockIdx.x} * kWarpSize + lane;
  const Index first = Index{blockIdx.y} * rows_per_range;
  const Index last = rows - first < rows_per_range ? rows : first + rows_per_range;
  float sum = 0.0f;
  if (column < count) {
#pragma unroll kUnroll
    for (Index row = first + warp; row < last; row += kWarps) sum += in[row * count + column];
  }
  partial[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= count) return;
  for (int i = 1; i < kWarps; ++i) sum += partial[i][lane];
  sums[Index{blockIdx.y} * count + column] = sum;
}

}  // namespace

void ordered_sum(Stream stream, Index rows, Index count, Index rows_per_range, const float* in,
                 float* sums) {
  dim3 grid = blocks(divide_up(count, kWarpSize));
  grid.y = static_cast<unsigned>(divide_up(rows, rows_per_range));
  launch(stream, "ordered_sum", ordered_sum_kernel, grid, kWarps * kWarpSize, 0, rows, count,
         rows_per_range, in, sums);
}

}  // namespace dfengine::cuda
