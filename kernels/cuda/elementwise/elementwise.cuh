// The frame of the kernels that change elements one by one, eight in each thread.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {

constexpr int kElementThreads = 256;

// Applies op(v, old) to eight inputs at a time. v comes from a and goes to y, old comes from b or
// is zero where b is null. y may be a or b.
template <class T, class Op>
__global__ void __launch_bounds__(kElementThreads)
    elementwise_kernel(Index count, Op op, const T* a, const T* b, T* y) {
  await_previous_kernels();
  const Index first = (Index{blockIdx.x} * kElementThreads + threadIdx.x) * kVector;
  if (first >= count) return;
  float v[kVector] = {}, old[kVector] = {};
  if (count - first >= kVector) {
    load8(a + first, v);
    if (b != nullptr) load8(b + first, old);
    op(v, old);
    store8(y + first, v);
    return;
  }
  const int left = static_cast<int>(count - first);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if (i >= left) continue;
    v[i] = to_float(a[first + i]);
    if (b != nullptr) old[i] = to_float(b[first + i]);
  }
  op(v, old);
#pragma unroll
  for (int i = 0; i < kVector; ++i)
    if (i < left) y[first + i] = from_float<T>(v[i]);
}

template <class T, class Op>
void elementwise(Stream stream, const char* name, Index count, Op op, const T* a, const T* b,
                 T* y) {
  if (count == 0) return;
  launch(stream, name, elementwise_kernel<T, Op>,
         blocks(divide_up(count, Index{kElementThreads} * kVector)), kElementThreads, 0, count, op,
         a, b, y);
}

}  // namespace dfengine::cuda
