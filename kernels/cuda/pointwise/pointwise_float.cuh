// y[rows, columns] = epilogue(sum over depth of a b) in float and without tensor cores, for the
// dense head and --precision fp32. a and b may lie either way round in memory.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm_on_load.cuh"
#include "kernels/epilogue.h"

namespace dfengine::cuda {

struct FloatProduct {
  const float* a;  // (row, d) at row * a_row + d * a_depth
  Index a_row, a_depth;
  const float* b;  // (d, column) at d * b_depth + column * b_column
  Index b_depth, b_column;
  Epilogue<float, float> epilogue = {};
  float* y;  // [parts, rows, columns]: one sum per part of the depth
  Index rows, columns, depth;
  Index depth_per_part;
  NormOnLoad a_norm = {};  // one channel for each depth
  NormOnLoad b_norm = {};  // one channel for each column
};

constexpr int kFloatThreads = 256;

__device__ __forceinline__ void store_float(const FloatProduct& p, Index row, Index column,
                                            float sum) {
  const Index at = row * p.columns + column;
  if (p.epilogue.bias != nullptr) sum += p.epilogue.bias[column];
  sum = clamp(p.epilogue.activation, sum);
  if (p.epilogue.residual != nullptr) sum += p.epilogue.residual[at];
  p.y[Index{blockIdx.y} * p.rows * p.columns + at] = sum;
}

template <bool kNorm>
__device__ __forceinline__ float with_norm(const NormOnLoad& norm, Index channel, float v) {
  if constexpr (kNorm) {
    if (norm.present())
      v = clamp(norm.activation, normalised(v, norm.scale[channel], norm.shift[channel]));
  }
  return v;
}

// Copies kEdge rows (or columns) x kDepth to to[d][row], each value through change(value, row, d).
// Neighbouring threads read neighbours in memory.
template <int kEdge, int kDepth, class Change>
__device__ __forceinline__ void copy_floats(const float* from, Index edge_stride,
                                            Index depth_stride, Index edge_left, Index depth_left,
                                            float (*to)[kEdge + 1], Change&& change) {
#pragma unroll
  for (int first = 0; first < kEdge * kDepth; first += kFloatThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const bool along_depth = depth_stride == 1;
    const int e = along_depth ? i / kDepth : i % kEdge;
    const int d = along_depth ? i % kDepth : i / kEdge;
    to[d][e] = e < edge_left && d < depth_left
                   ? change(from[e * edge_stride + d * depth_stride], e, d)
                   : 0.0f;
  }
}

// A block makes 16 kEach x 16 kEach results (tiles along x, parts of the depth along y), a thread
// kEach x kEach of them, 16 apart.
template <int kEach, bool kNorm>
__global__ void __launch_bounds__(kFloatThreads, 2) float_tile_kernel(FloatProduct p) {
  await_previous_kernels();
  constexpr int kEdge = 16 * kEach, kDepth = 64 / kEach;
  __shared__ float a[kDepth][kEdge + 1], b[kDepth][kEdge + 1];
  const Index column_tiles = divide_up(p.columns, kEdge);
  const Index row = Index{blockIdx.x} / column_tiles * kEdge;
  const Index column = Index{blockIdx.x} % column_tiles * kEdge;
  const Index first = Index{blockIdx.y} * p.depth_per_part;
  const Index last = p.depth - first < p.depth_per_part ? p.depth : first + p.depth_per_part;
  const int r = static_cast<int>(threadIdx.x) / 16, c = static_cast<int>(threadIdx.x) % 16;
  float sums[kEach][kEach] = {};
  for (Index d = first; d < last; d += kDepth) {
    copy_floats<kEdge, kDepth>(
        p.a + row * p.a_row + d * p.a_depth, p.a_row, p.a_depth, p.rows - row, last - d, a,
        [&](float v, int, int i) { return with_norm<kNorm>(p.a_norm, d + i, v); });
    copy_floats<kEdge, kDepth>(p.b + column * p.b_column + d * p.b_depth, p.b_column, p.b_depth,
                               p.columns - column, last - d, b, [&](float v, int i, int) {
                                 return with_norm<kNorm>(p.b_norm, column + i, v);
                               });
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j)
          sums[i][j] = fmaf(a[k][r + 16 * i], b[k][c + 16 * j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      if (row + r + 16 * i < p.rows && column + c + 16 * j < p.columns)
        store_float(p, row + r + 16 * i, column + c + 16 * j, sums[i][j]);
  }
}

// A warp makes one result. This is for few results of long rows, such as the logit of one image.
template <bool kNorm>
__global__ void __launch_bounds__(kFloatThreads) float_row_kernel(FloatProduct p) {
  await_previous_kernels();
  const Index at = (Index{blockIdx.x} * kFloatThreads + threadIdx.x) / kWarpSize;
  if (at >= p.rows * p.columns) return;
  const Index row = at / p.columns, column = at % p.columns;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  float sum = 0.0f;
  for (Index d = lane; d < p.depth; d += kWarpSize)
    sum = fmaf(with_norm<kNorm>(p.a_norm, d, p.a[row * p.a_row + d * p.a_depth]),
               p.b[d * p.b_depth + column * p.b_column], sum);
  sum = warp_sum(sum);
  if (lane == 0) store_float(p, row, column, sum);
}

// parts is how many ranges of depth_per_part the depth has.
inline void multiply_floats(Stream stream, const char* name, const FloatProduct& p, Index parts) {
  constexpr Index kFewResults = 4096, kFewTiles = 132;
  const bool norm = p.a_norm.present() || p.b_norm.present();
  const bool rows_in_memory = p.a_depth == 1 && p.b_depth == 1;
  if (rows_in_memory && parts == 1 && p.rows <= kFewResults && p.columns <= kFewResults &&
      p.rows * p.columns <= kFewResults)
    return launch(stream, name, norm ? float_row_kernel<true> : float_row_kernel<false>,
                  blocks(divide_up(p.rows * p.columns, kFloatThreads / kWarpSize)), kFloatThreads,
                  0, p);
  const auto grid = [&](Index edge) {
    dim3 size = blocks(divide_up(p.rows, edge) * divide_up(p.columns, edge));
    size.y = static_cast<unsigned>(parts);
    return size;
  };
  const dim3 large = grid(64);
  if (Index{large.x} * large.y >= kFewTiles)
    return launch(stream, name, norm ? float_tile_kernel<4, true> : float_tile_kernel<4, false>,
                  large, kFloatThreads, 0, p);
  launch(stream, name, norm ? float_tile_kernel<1, true> : float_tile_kernel<1, false>, grid(16),
         kFloatThreads, 0, p);
}

}  // namespace dfengine::cuda
