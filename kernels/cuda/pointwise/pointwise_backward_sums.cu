// dx [m, c] = dy [m, k] w [k, c] behind the activation of the norm of x, its sums, and dw [k, c] =
// dy^T of the normalised x, in one kernel. A block has 48 columns and a part of the rows. Each warp
// makes 16 x 16 of dx from a step's dy, takes the x under them as it lies in shared memory, and
// puts there what the norm makes of it: so the step is ready for dw.
#include "kernels/cuda/pointwise/pointwise_backward_sums.h"

#include "kernels/activation_function.h"
#include "kernels/base/error.h"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/pointwise/pointwise_requirements.h"
#include "kernels/cuda/pointwise/pointwise_square.cuh"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"

namespace dfengine::cuda {
namespace {

// As in weight gradients rows are k, columns c and depth m. Three times 16 columns and four times
// 16 rows of m are a task for each of twelve warps.
constexpr int kColumns = 48, kDepth = 64, kPairs = kColumns / 16;
using K32 = Tile<32, kColumns, kDepth, 1, 3, 4, 3, 2>;
using K64 = Tile<64, kColumns, kDepth, 2, 3, 2, 3, 2>;
using K96 = Tile<96, kColumns, kDepth, 2, 3, 2, 3, 2>;
constexpr int kWarps = K32::kThreads / kWarpSize, kGroups = kWarps / kPairs;
static_assert(kGroups * 16 == kDepth && K64::kThreads == K32::kThreads &&
              K96::kThreads == K32::kThreads);

// Calls body(Tile).
template <class Body>
auto with_tile_of(const PointwiseProblem& p, Body&& body) {
  if (p.k <= K32::kRows) return body(K32{});
  if (p.k <= K64::kRows) return body(K64{});
  return body(K96{});
}

template <class T>
struct GradientProduct {
  const T *x, *dy, *w;
  float* dw;  // [parts, k, c]; null: not wanted
  T* dx;
  float* sums;  // [parts, 2, c]
  int m, c, k;
  int rows_per_part;
  NormOnLoad norm;
};

template <class Tile>
struct GradientShared {
  using Weight = WeightShared<Tile>;
  static constexpr std::size_t kRing = 2 * Tile::kStages * Weight::kStage;
  static constexpr std::size_t kW = 2 * Tile::kRows * Weight::kXPitch;
  static constexpr std::size_t kVectors = sizeof(float) * 2 * kColumns;
  // A square for each warp, which leaves its sums there at the end.
  static constexpr std::size_t kBytes = kRing + kW + kVectors + sizeof(float) * kWarps * kSquare;
};

// Of the block's columns, in shared memory: in registers they would have no room beside the sums.
struct NormVectors {
  float *scale, *shift;

  __device__ explicit NormVectors(void* shared)
      : scale(static_cast<float*>(shared)), shift(scale + kColumns) {}
  // Before a barrier.
  __device__ void load(const NormOnLoad& norm, int column, int columns) const {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kColumns || column + i >= columns) return;
    scale[i] = norm.scale[column + i];
    shift[i] = norm.shift[column + i];
  }
};

// What a lane adds up for its eight columns: g and g x.
struct ColumnSums {
  float g[kVector], product[kVector];
};

// The gradients of four values of x behind the activation, rounded as they are stored; x becomes
// what the norm makes of it. g and product: the lane's sums for these columns.
template <class T>
__device__ __forceinline__ Packed<T, 4> take_quad(const NormVectors& norm, Activation activation,
                                                  int column, const float* gradients,
                                                  Packed<T, 4>& x, float* g, float* product) {
  float raw[4], v[4], z[4], of[4];
  unpack(x, raw);
  unpack(load_packed<4>(gradients), v);
  unpack(load_packed<4>(norm.scale + column), z);
  unpack(load_packed<4>(norm.shift + column), of);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    z[i] = normalised(raw[i], z[i], of[i]);
    if (!passes_gradient(activation, z[i])) v[i] = 0.0f;
  }
  x = pack<T>(z);
  clamp_packed(activation, x);
  const Packed<T, 4> stored = pack<T>(v);
  unpack(stored, v);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    g[i] += v[i];
    product[i] = fmaf(v[i], raw[i], product[i]);
  }
  return stored;
}

// The same of a lane's eight in a square of gradients. own: where its first are.
template <class T>
__device__ __forceinline__ Packed<T> take_vector(const NormVectors& norm, Activation activation,
                                                 int column, const float* square, int own, T* x,
                                                 ColumnSums& sums) {
  union Halves {
    Packed<T> whole;
    Packed<T, 4> quads[2];
  } in = {load_packed(x)}, out = in;
#pragma unroll
  for (int i = 0; i < 2; ++i)
    out.quads[i] = take_quad<T>(norm, activation, column + 4 * i, square + (own ^ 4 * i),
                                in.quads[i], sums.g + 4 * i, sums.product + 4 * i);
  store_packed(x, in.whole);
  return out.whole;
}

// One warp's 16 x 16 of dx. row and column: its first in the step and in the block.
template <class Tile, class T>
__device__ __forceinline__ void take_task(const GradientProduct<T>& p, const NormVectors& norm,
                                          T* stage, const T* w, int row, int column, int first_row,
                                          int first_column, int last, int lane, float* out,
                                          ColumnSums& of_columns) {
  using Weight = WeightShared<Tile>;
  multiply_square<Weight::kDyPitch, Weight::kXPitch>(stage + row * Weight::kDyPitch, w + column,
                                                     p.k, lane, out);
  const RowOfSquare own(lane);
  const int r = row + own.row, c = column + own.column;
  if (first_row + r < last && first_column + c < p.c) {
    T* const x = stage + Weight::kDy + r * Weight::kXPitch + c;
    store_packed(p.dx + Index{first_row + r} * p.c + first_column + c,
                 take_vector(norm, p.norm.activation, c, out, place_in_square(own.row, own.column),
                             x, of_columns));
  }
  __syncwarp();
}

// Adds the sums of all lanes and warps in a fixed order and writes the block's part, of g and of
// g (x - mean).
__device__ __forceinline__ void write_sums(const ColumnSums& sums, int warp, int lane, int column,
                                           int columns, const float* mean, float* buffer,
                                           float* part) {
  ColumnSums all = sums;
#pragma unroll
  for (int i = 0; i < kVector; ++i)
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) {
      all.g[i] += __shfl_xor_sync(kAllLanes, all.g[i], mask);
      all.product[i] += __shfl_xor_sync(kAllLanes, all.product[i], mask);
    }
  float* const own = buffer + (warp * 2 + lane / 16) * 2 * kVector;
  if (lane % 16 == 0) {
    store8(own, all.g);
    store8(own + kVector, all.product);
  }
  __syncthreads();
  const int i = static_cast<int>(threadIdx.x);
  if (i >= kColumns || column + i >= columns) return;
  float g = 0.0f, product = 0.0f;
  for (int group = 0; group < kGroups; ++group) {
    const float* const from =
        buffer + ((group * kPairs + i / 16) * 2 + i % 16 / kVector) * 2 * kVector + i % kVector;
    g += from[0];
    product += from[kVector];
  }
  part[column + i] = g;
  part[columns + column + i] = fmaf(-mean[column + i], g, product);
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    backward_sums_kernel(GradientProduct<T> p) {
  await_previous_kernels();
  using Shared = GradientShared<Tile>;
  using Weight = typename Shared::Weight;
  DF_DYNAMIC_SHARED(shared);
  T* const ring = reinterpret_cast<T*>(shared);
  T* const w = reinterpret_cast<T*>(shared + Shared::kRing);
  const NormVectors norm(shared + Shared::kRing + Shared::kW);
  float* const outs =
      reinterpret_cast<float*>(shared + Shared::kRing + Shared::kW + Shared::kVectors);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int column = static_cast<int>(blockIdx.x) * kColumns;
  const int first = static_cast<int>(blockIdx.y) * p.rows_per_part;
  const int last = p.m - first < p.rows_per_part ? p.m : first + p.rows_per_part;
  const int steps = (last - first + kDepth - 1) / kDepth;
  const auto copy = [&](int step) {
    T* const stage = ring + step % Tile::kStages * Weight::kStage;
    const int row = first + step * kDepth;
    if (step < steps) {
      copy_tile<kDepth, Tile::kRows, Tile::kThreads>(p.dy, row, last, 0, p.k, stage);
      copy_tile<kDepth, kColumns, Tile::kThreads>(p.x, row, last, column, p.c, stage + Weight::kDy);
    }
    copy_async_commit();
  };
  copy_tile<Tile::kRows, kColumns, Tile::kThreads>(p.w, 0, p.k, column, p.c, w);
  norm.load(p.norm, column, p.c);
  for (int step = 0; step < Tile::kStages - 1; ++step) copy(step);

  const Part part = part_of<Tile>(warp);
  Sums<Tile> sums = {};
  ColumnSums of_columns = {};
  for (int step = 0; step < steps; ++step) {
    T* const stage = ring + step % Tile::kStages * Weight::kStage;
    copy_async_wait<Tile::kStages - 2>();
    __syncthreads();
    copy(step + Tile::kStages - 1);
    take_task<Tile>(p, norm, stage, w, warp / kPairs * 16, warp % kPairs * 16,
                    first + step * kDepth, column, last, lane, outs + warp * kSquare, of_columns);
    if (p.dw == nullptr) continue;
    __syncthreads();
    multiply_weight_stage<Tile>(stage, part, lane, sums);
  }
  __syncthreads();
  write_sums(of_columns, warp, lane, column, p.c, p.norm.mean, outs,
             p.sums + Index{blockIdx.y} * 2 * p.c);
  if (p.dw == nullptr) return;
  add_depths<Tile>(warp, lane, reinterpret_cast<float*>(shared), sums);
  if (part.depth > 0) return;
  store_weight_sums<Tile>(p.k, p.c, part.row, column + part.column, lane, sums,
                          p.dw + Index{blockIdx.y} * p.k * p.c);
}

RowParts parts_of(const PointwiseProblem& p) {
  return RowParts::of(p.m, kDepth, divide_up(p.c, Index{kColumns}));
}

}  // namespace

bool has_pointwise_backward_sums(const PointwiseProblem& p) {
  return p.k <= K96::kRows;
}

Index pointwise_sums_parts(const PointwiseProblem& p) {
  return parts_of(p).count;
}

Index pointwise_sums_scratch(const PointwiseProblem& p) {
  return parts_of(p).count * p.k * p.c;
}

template <class T>
void pointwise_backward_sums(Stream stream, const PointwiseProblem& p, const T* x, const T* dy,
                             const T* w, const NormOnLoad& norm, float* scratch, float* dw, T* dx,
                             const GradientSums& sums) {
  require_tensor_cores(p, {x, dy, w, norm.scale, norm.shift, norm.mean, dx, sums.values});
  const RowParts parts = parts_of(p);
  require_parts(sums.parts, parts.count);
  if (!has_pointwise_backward_sums(p))
    throw Error("pointwise convolution on the device: " + std::to_string(p.k) +
                " outputs have no backward in one kernel");
  with_tile_of(p, [&](auto tile) {
    using Tile = decltype(tile);
    const GradientProduct<T> product{.x = x,
                                     .dy = dy,
                                     .w = w,
                                     .dw = dw != nullptr ? scratch : nullptr,
                                     .dx = dx,
                                     .sums = sums.values,
                                     .m = static_cast<int>(p.m),
                                     .c = static_cast<int>(p.c),
                                     .k = static_cast<int>(p.k),
                                     .rows_per_part = static_cast<int>(parts.rows),
                                     .norm = norm};
    dim3 grid = blocks(divide_up(p.c, Index{kColumns}));
    grid.y = static_cast<unsigned>(parts.count);
    launch(stream, "pointwise_backward_sums", backward_sums_kernel<T, Tile>, grid, Tile::kThreads,
           GradientShared<Tile>::kBytes, product);
  });
  if (dw != nullptr) ordered_sum(stream, parts.count, p.k * p.c, parts.count, scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                    \
  template void pointwise_backward_sums(Stream, const PointwiseProblem&, const T*, const T*, \
                                        const T*, const NormOnLoad&, float*, float*, T*,     \
                                        const GradientSums&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
