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

// kEdge rows (or columns) x kDepth of a factor on their way from memory to shared memory: the loads
// of a piece are under way while the one before is multiplied. Neighbouring threads read neighbours
// in memory.
template <int kEdge, int kDepth>
class FloatPiece {
 public:
  __device__ explicit FloatPiece(bool along_depth) : along_depth_(along_depth) {}

  // Each value through change(value, row, d).
  template <class Change>
  __device__ __forceinline__ void load(const float* from, Index edge_stride, Index depth_stride,
                                       Index edge_left, Index depth_left, Change&& change) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const int e = edge(i), d = depth(i);
      values_[i] = e < edge_left && d < depth_left
                       ? change(from[e * edge_stride + d * depth_stride], e, d)
                       : 0.0f;
    }
  }
  __device__ __forceinline__ void store(float (*to)[kEdge + 1]) const {
#pragma unroll
    for (int i = 0; i < kValues; ++i) to[depth(i)][edge(i)] = values_[i];
  }

 private:
  static constexpr int kValues = kEdge * kDepth / kFloatThreads;
  __device__ static int place(int i) {
    return i * kFloatThreads + static_cast<int>(threadIdx.x);
  }
  __device__ int edge(int i) const {
    return along_depth_ ? place(i) / kDepth : place(i) % kEdge;
  }
  __device__ int depth(int i) const {
    return along_depth_ ? place(i) % kDepth : place(i) / kEdge;
  }

  bool along_depth_;
  float values_[kValues];
};

// A block makes kSide kEach x kSide kEach results (tiles along x, parts of the depth along y). A
// thread has kEach x kEach of them, kSide apart; where kSide is 8, four groups of threads share the
// depth.
template <int kSide, int kEach, bool kNorm>
__global__ void __launch_bounds__(kFloatThreads, 2) float_tile_kernel(FloatProduct p) {
  await_previous_kernels();
  constexpr int kEdge = kSide * kEach, kDepth = 1024 / kEdge;
  constexpr int kGroup = kSide * kSide, kGroups = kFloatThreads / kGroup;
  __shared__ float a[kDepth][kEdge + 1], b[kDepth][kEdge + 1];
  static_assert(kGroups == 1 || kGroups * kEdge * kEdge <= kDepth * (kEdge + 1));
  const Index column_tiles = divide_up(p.columns, kEdge);
  const Index row = Index{blockIdx.x} / column_tiles * kEdge;
  const Index column = Index{blockIdx.x} % column_tiles * kEdge;
  const Index first = Index{blockIdx.y} * p.depth_per_part;
  const Index last = p.depth - first < p.depth_per_part ? p.depth : first + p.depth_per_part;
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup;
  const int r = thread % kGroup / kSide, c = thread % kSide;
  FloatPiece<kEdge, kDepth> next_a(p.a_depth == 1), next_b(p.b_depth == 1);
  const auto load = [&](Index d) {
    next_a.load(p.a + row * p.a_row + d * p.a_depth, p.a_row, p.a_depth, p.rows - row, last - d,
                [&](float v, int, int i) { return with_norm<kNorm>(p.a_norm, d + i, v); });
    next_b.load(p.b + column * p.b_column + d * p.b_depth, p.b_column, p.b_depth,
                p.columns - column, last - d,
                [&](float v, int i, int) { return with_norm<kNorm>(p.b_norm, column + i, v); });
  };
  float sums[kEach][kEach] = {};
  load(first);
  for (Index d = first; d < last; d += kDepth) {
    next_a.store(a);
    next_b.store(b);
    __syncthreads();
    if (d + kDepth < last) load(d + kDepth);
#pragma unroll
    for (int i = 0; i < kDepth; i += kGroups) {
      const int k = i + group;
#pragma unroll
      for (int y = 0; y < kEach; ++y) {
#pragma unroll
        for (int x = 0; x < kEach; ++x)
          sums[y][x] = fmaf(a[k][r + kSide * y], b[k][c + kSide * x], sums[y][x]);
      }
    }
    __syncthreads();
  }
  float* const of_groups = &a[0][0];  // [kGroups, kEach, kEach, kGroup]
  if constexpr (kGroups > 1) {
#pragma unroll
    for (int i = 0; i < kEach * kEach; ++i)
      of_groups[(group * kEach * kEach + i) * kGroup + thread % kGroup] =
          sums[i / kEach][i % kEach];
    __syncthreads();
    if (group > 0) return;
  }
#pragma unroll
  for (int i = 0; i < kEach * kEach; ++i) {
    float sum = sums[i / kEach][i % kEach];
#pragma unroll
    for (int other = 1; other < kGroups; ++other)
      sum += of_groups[(other * kEach * kEach + i) * kGroup + thread];
    const Index y = row + r + kSide * (i / kEach), x = column + c + kSide * (i % kEach);
    if (y < p.rows && x < p.columns) store_float(p, y, x, sum);
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
    return launch(stream, name,
                  norm ? float_tile_kernel<16, 4, true> : float_tile_kernel<16, 4, false>, large,
                  kFloatThreads, 0, p);
  launch(stream, name, norm ? float_tile_kernel<8, 2, true> : float_tile_kernel<8, 2, false>,
         grid(16), kFloatThreads, 0, p);
}

}  // namespace dfengine::cuda
