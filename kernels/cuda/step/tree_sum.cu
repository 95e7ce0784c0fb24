// Tree sums on the device: a thread has a column, so that nobody waits for anybody.
#include "kernels/tree_sum.h"

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    tree_sum_kernel(Index rows, Index pitch, Index count, T* values, T* to) {
  await_previous_kernels();
  const Index i = Index{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  for (Index distance = 1; distance < rows; distance *= 2)
    for (Index row = 0; row < rows; row += 2 * distance)
      values[row * pitch + i] += values[(row + distance) * pitch + i];
  to[i] = values[i];
}

}  // namespace

template <class T>
void tree_sum(Stream stream, Index rows, Index pitch, Index count, T* values, T* to) {
  if (count == 0 || (rows == 1 && to == values)) return;
  launch(stream, "tree_sum", tree_sum_kernel<T>, blocks(divide_up(count, kThreads)), kThreads, 0,
         rows, pitch, count, values, to);
}

template void tree_sum(Stream, Index, Index, Index, float*, float*);
template void tree_sum(Stream, Index, Index, Index, double*, double*);

}  // namespace dfengine::cuda
