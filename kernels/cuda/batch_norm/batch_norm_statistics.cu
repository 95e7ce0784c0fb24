// Batch statistics on the device: per-chunk sums, then a merge in fixed order.
#include <string>

#include "kernels/batch_norm.h"
#include "kernels/cuda/batch_norm/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

// partial [chunks, 2, C] = the sums of (x - x[0]) and of its square. The first row stands in for
// the mean, so that squares do not cancel when the mean is large against the deviation.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormForwardBlocks)
    statistics_kernel(BatchNormTile tile, Index m, Index c, const T* __restrict__ x,
                      float* __restrict__ partial) {
  float sums[2][kVector] = {};
  const BatchNormPlace at = batch_norm_place(tile, m, c);
  if (at.active) {
    float shift[kVector];
    load8(x + at.channel, shift);
    for_each_row<T>(
        at, [&](Index row) { return load_packed(x + row * c + at.channel); },
        [&](Index, const Packed<T>& packed) {
          float v[kVector];
          unpack(packed, v);
#pragma unroll
          for (int i = 0; i < kVector; ++i) {
            const float d = v[i] - shift[i];
            sums[0][i] += d;
            sums[1][i] = fmaf(d, d, sums[1][i]);
          }
        });
  }
  write_block_sums(tile, sums, c, partial + Index{blockIdx.x} * 2 * c);
}

struct Moments {
  float n, mean, m2;
};

// Chan, Golub & LeVeque 1979.
__device__ Moments merge(const Moments& a, const Moments& b) {
  const float n = a.n + b.n;
  if (n == 0.0f) return a;
  const float delta = b.mean - a.mean;
  const float share = b.n / n;
  return {n, fmaf(delta, share, a.mean), a.m2 + b.m2 + delta * delta * a.n * share};
}

// Per-channel vectors that finish_statistics_kernel reads and writes, each [C].
struct ChannelVectors {
  const float *running_mean, *running_var;
  float *next_mean, *next_var;
  float *mean, *rstd;
  // Null unless the readers of y apply the norm.
  const float *gamma, *beta;
  float *scale, *shift;
};

// One warp per channel: each lane merges its chunks, then the lanes merge in a tree.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_statistics_kernel(BatchNormTile tile, Index m, Index c, float eps, float momentum,
                             const T* __restrict__ x, const float* __restrict__ partial,
                             ChannelVectors v) {
  const int lane = static_cast<int>(threadIdx.x) % kBatchNormMergeLanes;
  const Index channel = Index{blockIdx.x} * kBatchNormMergeChannels +
                        static_cast<int>(threadIdx.x) / kBatchNormMergeLanes;
  const Index at = channel < c ? channel : c - 1;  // every lane takes part in the shuffles
  Moments sum = {0.0f, 0.0f, 0.0f};
  for_each_chunk(tile.chunks, c, at, lane, partial, [&](Index chunk, float s, float q) {
    const Index rows = tile.rows < m - chunk * tile.rows ? tile.rows : m - chunk * tile.rows;
    const float n = static_cast<float>(rows);
    const float chunk_mean = s / n;
    sum = merge(sum, {n, chunk_mean, fmaxf(fmaf(-s, chunk_mean, q), 0.0f)});
  });
#pragma unroll
  for (int half = kBatchNormMergeLanes / 2; half > 0; half /= 2) {
    const Moments other = {__shfl_down_sync(kAllLanes, sum.n, half),
                           __shfl_down_sync(kAllLanes, sum.mean, half),
                           __shfl_down_sync(kAllLanes, sum.m2, half)};
    if (lane < half) sum = merge(sum, other);
  }
  if (lane != 0 || channel >= c) return;
  const float mean = to_float(x[channel]) + sum.mean;
  const float rstd = 1.0f / sqrtf(sum.m2 / sum.n + eps);
  const float running_mean = v.running_mean[channel], running_var = v.running_var[channel];
  v.mean[channel] = mean;
  v.rstd[channel] = rstd;
  v.next_mean[channel] = fmaf(momentum, mean - running_mean, running_mean);
  v.next_var[channel] = fmaf(momentum, sum.m2 / (sum.n - 1.0f) - running_var, running_var);
  if (v.scale == nullptr) return;
  const ScaleShift norm = scale_shift(v.gamma[channel], v.beta[channel], mean, rstd);
  v.scale[channel] = norm.scale;
  v.shift[channel] = norm.shift;
}

// What the readers of y need where the statistics are frozen.
__global__ void __launch_bounds__(kBatchNormThreads)
    frozen_scale_kernel(Index c, float eps, const float* __restrict__ gamma,
                        const float* __restrict__ beta, const float* __restrict__ mean,
                        const float* __restrict__ var, float* __restrict__ scale,
                        float* __restrict__ shift) {
  const Index first = (Index{blockIdx.x} * kBatchNormThreads + threadIdx.x) * kVector;
  if (first >= c) return;
  const Channels<Second::Variance> channels(first, eps, gamma, beta, mean, var);
  store8(scale + first, channels.scale);
  store8(shift + first, channels.shift);
}

}  // namespace

template <class T>
void batch_norm_statistics(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                           const float* beta, const float* running_mean, const float* running_var,
                           float* next_mean, float* next_var, float* scratch, float* saved_mean,
                           float* saved_rstd, float* scale, float* shift) {
  require_vectors("batch norm", p.c, {x, saved_mean, saved_rstd, scale, shift});
  if (p.m < 2)
    throw ShapeError("batch norm over [1, " + std::to_string(p.c) +
                     "]: batch statistics need more than one value per channel");
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormForwardBlocks);
  launch(stream, "batch_norm_statistics", statistics_kernel<T>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, x, scratch);
  launch(stream, "batch_norm_finish_statistics", finish_statistics_kernel<T>,
         blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0, tile, p.m, p.c,
         static_cast<float>(p.eps), static_cast<float>(p.momentum), x, scratch,
         ChannelVectors{running_mean, running_var, next_mean, next_var, saved_mean, saved_rstd,
                        gamma, beta, scale, shift});
}

void batch_norm_frozen_statistics(Stream stream, const BatchNormProblem& p, const float* gamma,
                                  const float* beta, const float* mean, const float* var,
                                  float* scale, float* shift) {
  require_vectors("batch norm", p.c, {gamma, beta, mean, var, scale, shift});
  launch(stream, "batch_norm_frozen_statistics", frozen_scale_kernel,
         blocks(divide_up(p.c, Index{kBatchNormThreads} * kVector)), kBatchNormThreads, 0, p.c,
         static_cast<float>(p.eps), gamma, beta, mean, var, scale, shift);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void batch_norm_statistics(Stream, const BatchNormProblem&, const T*, const float*,  \
                                      const float*, const float*, const float*, float*, float*, \
                                      float*, float*, float*, float*, float*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
