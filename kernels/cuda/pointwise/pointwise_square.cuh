// A small product of one warp: 16 x 16 of a data gradient from rows of dy in shared memory.
#pragma once

#include "kernels/cuda/mma.cuh"

namespace dfengine::cuda {

// Where a warp turns its sums into whole rows.
constexpr int kSquarePitch = 16 + 4, kSquare = 16 * kSquarePitch;

// out [16, kSquarePitch] = dy [16, depth] w [depth, 16], whose rows are so far apart. The depth is in steps
// of 16, behind the last of which both are zero.
template <int kDyPitch, int kWPitch, class T>
__device__ __forceinline__ void multiply_square(const T* dy, const T* w, int depth, int lane,
                                                float* out) {
  float sums[2][4] = {};
#pragma unroll 2
  for (int k = 0; k < depth; k += 16) {
    std::uint32_t a[4], b[4];
    load_a(a, dy + k, kDyPitch, lane);
    load_b_transposed(b, w + k * kWPitch, kWPitch, lane);
    const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
    mma_16x8x16<T>(sums[0], a, left);
    mma_16x8x16<T>(sums[1], a, right);
  }
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      out[(lane / 4 + i / 2 * 8) * kSquarePitch + 8 * j + lane % 4 * 2 + i % 2] = sums[j][i];
  __syncwarp();
}

}  // namespace dfengine::cuda
