// dx [m, c] = dy [m, k] w [k, c] and dw [k, c] = dy^T x of a pointwise convolution with few
// channels, in one kernel: dy, which is the long operand of both, is read once, beside y, and takes
// the last step of its batch norm in shared memory.
#include "kernels/base/error.h"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/pointwise/pointwise_on_load.h"
#include "kernels/cuda/pointwise/pointwise_requirements.h"
#include "kernels/cuda/pointwise/pointwise_square.cuh"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"

namespace dfengine::cuda {
namespace {

// As in weight gradients rows are k, columns c and depth m. Twice as many stages would need more
// shared memory than two blocks on sm_90, or one on sm_86, have.
using Narrow = Tile<96, 16, 64, 2, 1, 4, 2, 2>;
using Wide = Tile<192, 32, 32, 2, 2, 2, 2, 2>;

// So many threads copy dy and y and take the last step: each keeps to one column, and its factors.
constexpr int kColumnThreads = 192;
constexpr int kWarps = Wide::kThreads / kWarpSize;
static_assert(Narrow::kThreads == Wide::kThreads);

// Calls body(Tile).
template <class Body>
auto with_tile_of(const PointwiseProblem& p, Body&& body) {
  if (p.k <= Narrow::kRows && p.c <= Narrow::kColumns) return body(Narrow{});
  return body(Wide{});
}

template <class T>
struct BothGradients {
  const T *x, *y, *dy, *w;
  float* dw;  // [parts, k, c]
  T* dx;      // null: not wanted
  int m, c, k;
  int rows_per_part;
  bool accumulate;  // to dx
  NormOnLoad norm;  // of x
  GradientOnLoad gradient;
};

template <class Tile>
struct BothShared {
  using Weight = WeightShared<Tile>;
  static constexpr int kY = Weight::kStage;  // in a stage, behind dy and x
  static constexpr int kStage = kY + Weight::kDy;
  static constexpr int kW = Tile::kRows * Weight::kXPitch;
  static constexpr std::size_t kRing = 2 * (Tile::kStages * kStage + kW);
  static constexpr std::size_t kBytes = kRing + sizeof(float) * kWarps * kSquare;
  static_assert(2 * Tile::kStages * kStage >= 4 * Tile::kRows * Tile::kColumns);
};

// Gives dy its last step, where copy_tile copied both for this same thread, rounded as the batch
// norm would have stored it. What lies outside stays zero.
template <class Tile, class T>
__device__ __forceinline__ void take_last_step(const BothGradients<T>& p, int row, int last,
                                               T* stage) {
  using Shared = BothShared<Tile>;
  using Own = OwnVectors<Tile::kDepth, Tile::kRows, kColumnThreads>;
  static_assert(Own::kOneColumn);
  const int thread = static_cast<int>(threadIdx.x), k = thread % Own::kPerRow * kVector;
  if (thread >= kColumnThreads || k >= p.k) return;
  float factor[kVector], slope[kVector], offset[kVector];
  load8(p.gradient.factors + k, factor);
  load8(p.gradient.factors + p.k + k, slope);
  load8(p.gradient.factors + 2 * p.k + k, offset);
  for_each_own_vector<Tile::kDepth, Tile::kRows, kColumnThreads>([&](int r, int) {
    if (row + r >= last) return;
    T* const at = stage + r * Shared::Weight::kDyPitch + k;
    float dy[kVector], y[kVector];
    load8(at, dy);
    load8(at + Shared::kY, y);
#pragma unroll
    for (int i = 0; i < kVector; ++i)
      dy[i] = fmaf(factor[i], dy[i], fmaf(slope[i], y[i], offset[i]));
    store8(at, dy);
  });
}

// dx of the stage's rows: a warp takes 16 of them and 16 columns at a time. Those that took no last
// step come first.
template <class Tile, class T>
__device__ __forceinline__ void store_data_gradient(const BothGradients<T>& p, const T* stage,
                                                    const T* w, int row, int last, int warp,
                                                    int lane, float* out) {
  using Weight = typename BothShared<Tile>::Weight;
  constexpr int kPairs = Tile::kColumns / 16;
  for (int task = (warp + kWarps - kColumnThreads / kWarpSize) % kWarps;
       task < Tile::kDepth / 16 * kPairs; task += kWarps) {
    const int first = task / kPairs * 16, column = task % kPairs * 16;
    if (row + first >= last || column >= p.c) continue;
    multiply_square<Weight::kDyPitch, Weight::kXPitch>(stage + first * Weight::kDyPitch, w + column,
                                                       p.k, lane, out);
    const auto [r, c] = RowOfSquare(lane);
    if (row + first + r < last && column + c < p.c) {
      T* const to = p.dx + Index{row + first + r} * p.c + column + c;
      float v[kVector];
      const int own = place_in_square(r, c);
#pragma unroll
      for (int i = 0; i < kVector; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(out + (own ^ i));
        v[i] = four.x, v[i + 1] = four.y, v[i + 2] = four.z, v[i + 3] = four.w;
      }
      if (p.accumulate) {
        float before[kVector];
        load8(to, before);
#pragma unroll
        for (int i = 0; i < kVector; ++i) v[i] += before[i];
      }
      store8(to, v);
    }
    __syncwarp();
  }
}

// A block has a part of the rows, and makes a dw of them.
template <class T, class Tile, bool kNorm>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    backward_on_load_kernel(BothGradients<T> p) {
  await_previous_kernels();
  using Shared = BothShared<Tile>;
  using Weight = typename Shared::Weight;
  DF_DYNAMIC_SHARED(shared);
  T* const ring = reinterpret_cast<T*>(shared);
  T* const w = ring + Tile::kStages * Shared::kStage;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float* const out = reinterpret_cast<float*>(shared + Shared::kRing) + warp * kSquare;
  const int first = static_cast<int>(blockIdx.x) * p.rows_per_part;
  const int last = p.m - first < p.rows_per_part ? p.m : first + p.rows_per_part;
  const int steps = (last - first + Tile::kDepth - 1) / Tile::kDepth;
  const auto copy = [&](int step) {
    T* const stage = ring + step % Tile::kStages * Shared::kStage;
    const int row = first + step * Tile::kDepth;
    if (step < steps) {
      if (threadIdx.x < kColumnThreads) {
        copy_tile<Tile::kDepth, Tile::kRows, kColumnThreads>(p.dy, row, last, 0, p.k, stage);
        copy_tile<Tile::kDepth, Tile::kRows, kColumnThreads>(p.y, row, last, 0, p.k,
                                                             stage + Shared::kY);
      }
      copy_tile<Tile::kDepth, Tile::kColumns, Tile::kThreads>(p.x, row, last, 0, p.c,
                                                              stage + Weight::kDy);
    }
    copy_async_commit();
  };
  copy_tile<Tile::kRows, Tile::kColumns, Tile::kThreads>(p.w, 0, p.k, 0, p.c, w);
  for (int step = 0; step < Tile::kStages - 1; ++step) copy(step);

  const Part part = part_of<Tile>(warp);
  Sums<Tile> sums = {};
  for (int step = 0; step < steps; ++step) {
    T* const stage = ring + step % Tile::kStages * Shared::kStage;
    const int row = first + step * Tile::kDepth;
    copy_async_wait<Tile::kStages - 2>();
    take_last_step<Tile>(p, row, last, stage);
    if constexpr (kNorm)
      normalise_tile<Tile::kDepth, Tile::kColumns, Tile>(p.norm, row, last, 0, p.c,
                                                         stage + Weight::kDy);
    __syncthreads();
    copy(step + Tile::kStages - 1);
    multiply_weight_stage<Tile>(stage, part, lane, sums);
    if (p.dx != nullptr) store_data_gradient<Tile>(p, stage, w, row, last, warp, lane, out);
  }
  add_depths<Tile>(warp, lane, reinterpret_cast<float*>(shared), sums);
  if (part.depth > 0) return;
  store_weight_sums<Tile>(p.k, p.c, part.row, part.column, lane, sums,
                          p.dw + Index{blockIdx.x} * p.k * p.c);
}

RowParts parts_of(const PointwiseProblem& p) {
  return with_tile_of(p, [&](auto tile) { return RowParts::of(p.m, tile.kDepth, 1); });
}

}  // namespace

bool has_pointwise_backward_on_load(const PointwiseProblem& p) {
  return p.c < p.k && p.k <= Wide::kRows && p.c <= Wide::kColumns;
}

Index pointwise_on_load_scratch(const PointwiseProblem& p) {
  return parts_of(p).count * p.k * p.c;
}

template <class T>
void pointwise_backward_on_load(Stream stream, const PointwiseProblem& p, const T* x, const T* y,
                                const T* dy, const T* w, const NormOnLoad& norm,
                                const GradientOnLoad& gradient, float* scratch, float* dw,
                                Write write, T* dx) {
  require_tensor_cores(p, {x, y, dy, w, norm.scale, norm.shift, gradient.factors, dx});
  if (!has_pointwise_backward_on_load(p))
    throw Error("pointwise convolution on the device: " + std::to_string(p.c) + " to " +
                std::to_string(p.k) + " channels have no backward in one kernel");
  const RowParts parts = parts_of(p);
  with_tile_of(p, [&](auto tile) {
    using Tile = decltype(tile);
    const BothGradients<T> both{.x = x,
                                .y = y,
                                .dy = dy,
                                .w = w,
                                .dw = scratch,
                                .dx = dx,
                                .m = static_cast<int>(p.m),
                                .c = static_cast<int>(p.c),
                                .k = static_cast<int>(p.k),
                                .rows_per_part = static_cast<int>(parts.rows),
                                .accumulate = write == Write::Accumulate,
                                .norm = norm,
                                .gradient = gradient};
    launch(stream, "pointwise_backward_on_load",
           norm.present() ? backward_on_load_kernel<T, Tile, true>
                          : backward_on_load_kernel<T, Tile, false>,
           blocks(parts.count), Tile::kThreads, BothShared<Tile>::kBytes, both);
  });
  if (dw != nullptr) ordered_sum(stream, parts.count, p.k * p.c, parts.count, scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void pointwise_backward_on_load(Stream, const PointwiseProblem&, const T*, const T*, \
                                           const T*, const T*, const NormOnLoad&,               \
                                           const GradientOnLoad&, float*, float*, Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
