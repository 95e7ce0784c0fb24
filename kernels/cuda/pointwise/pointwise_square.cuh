// A small product of one warp: 16 x 16 of a data gradient from rows of dy in shared memory.
#pragma once

#include "kernels/cuda/mma.cuh"

namespace dfengine::cuda {

// Where a warp turns its sums into whole rows: a lane has eight columns of one.
constexpr int kSquare = 16 * 16;
struct RowOfSquare {
  int row, column;
  __device__ __forceinline__ explicit RowOfSquare(int lane)
      : row(lane % 16), column(lane / 16 * 8) {}
};

// Where four columns of a row lie. Each row has an order of its own, so that the pairs of four
// rows, as they are stored, are in different banks, and so are the fours of eight rows, as they are
// loaded. Four columns, or eight, behind a multiple of eight, or of sixteen, lie where that with 4,
// or with 8, exchanged is.
__device__ __forceinline__ int place_in_square(int row, int column) {
  const int order = row / 2 % 2 * 2 + row / 4 % 2;
  return row * 16 + ((column / 4) ^ order) * 4;
}

// out [16, 16] = dy [16, depth] w [depth, 16], whose rows are so far apart. The depth is in steps
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
  const int own = place_in_square(lane / 4, lane % 4 * 2) + lane % 2 * 2;
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      *reinterpret_cast<float2*>(out + 8 * i * 16 + (own ^ 8 * j)) = {sums[j][2 * i],
                                                                      sums[j][2 * i + 1]};
  __syncwarp();
}

}  // namespace dfengine::cuda
