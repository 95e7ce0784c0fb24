// Batch statistics on the device: per-chunk sums, then a merge in fixed order.
#include <string>

#include "kernels/batch_norm.h"
#include "kernels/cuda/batch_norm/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/moments.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

// partial [chunks, 2, C] = the sums of (x - x[0]) and of its square. The first row stands in for
// the mean, so that squares do not cancel when the mean is large against the deviation.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormForwardBlocks)
    statistics_kernel(BatchNormTile tile, Index m, Index c, const T* __restrict__ x,
                      float* __restrict__ partial) {
  await_previous_kernels();
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

// The moments of a channel of x in chunks of rows, as statistics_kernel summed them. They are those
// of x - x[0].
template <class T>
struct SummedMoments {
  struct Loaded {
    float sum, squares;
  };
  BatchNormTile tile;
  Index m, c;
  const T* x;
  const float* partial;

  __device__ Index chunks() const { return tile.chunks; }
  __device__ Loaded load(Index chunk, Index channel) const {
    const float* const of_chunk = partial + chunk * 2 * c + channel;
    return {of_chunk[0], of_chunk[c]};
  }
  __device__ Moments moments(Index chunk, const Loaded& v) const {
    const Index left = m - chunk * tile.rows;
    const float n = static_cast<float>(tile.rows < left ? tile.rows : left);
    const float mean = v.sum / n;
    return {n, mean, fmaxf(fmaf(-v.sum, mean, v.squares), 0.0f)};
  }
  __device__ float origin(Index channel) const { return to_float(x[channel]); }
};

// As the kernel that wrote x left them.
struct GivenMoments {
  ChannelMoments parts;
  Index c;

  __device__ Index chunks() const { return parts.parts; }
  __device__ Moments load(Index part, Index channel) const {
    const float* const head = parts.values + part * ChannelMoments::pitch(c);
    const float* const of_channel = head + ChannelMoments::kHead + channel;
    return {head[0], of_channel[0], of_channel[c]};
  }
  __device__ const Moments& moments(Index, const Moments& v) const { return v; }
  __device__ float origin(Index) const { return 0.0f; }
};

// Per-channel vectors that finish_statistics_kernel reads and writes, each [C].
struct ChannelVectors {
  const float *running_mean, *running_var;
  float *next_mean, *next_var;
  float *mean, *rstd;
  // Null unless the readers of y apply the norm.
  const float *gamma, *beta;
  float* on_load;  // [3, C]
};

// The moments of all rows, in lane 0 of the warp: each lane merges its chunks, then the lanes merge
// in a tree.
template <class Source>
__device__ __forceinline__ Moments merge_chunks(const Source& source, int lane, Index channel) {
  Moments sum = {0.0f, 0.0f, 0.0f};
  for_each_chunk(
      source.chunks(), lane, [&](Index chunk) { return source.load(chunk, channel); },
      [&](Index chunk, const auto& loaded) { sum = merge(sum, source.moments(chunk, loaded)); });
#pragma unroll
  for (int half = kBatchNormMergeLanes / 2; half > 0; half /= 2) {
    const Moments other = {__shfl_down_sync(kAllLanes, sum.n, half),
                           __shfl_down_sync(kAllLanes, sum.mean, half),
                           __shfl_down_sync(kAllLanes, sum.m2, half)};
    if (lane < half) sum = merge(sum, other);
  }
  return sum;
}

// What the moments of all rows make of a channel.
__device__ __forceinline__ void write_statistics(const ChannelVectors& v, Index channel, Index c,
                                                 const Moments& all, float eps, float momentum) {
  const float rstd = 1.0f / sqrtf(all.m2 / all.n + eps);
  const float running_mean = v.running_mean[channel], running_var = v.running_var[channel];
  v.mean[channel] = all.mean;
  v.rstd[channel] = rstd;
  v.next_mean[channel] = fmaf(momentum, all.mean - running_mean, running_mean);
  v.next_var[channel] = fmaf(momentum, all.m2 / (all.n - 1.0f) - running_var, running_var);
  if (v.on_load == nullptr) return;
  const ScaleShift norm = scale_shift(v.gamma[channel], v.beta[channel], all.mean, rstd);
  v.on_load[channel] = norm.scale;
  v.on_load[c + channel] = norm.shift;
  v.on_load[2 * c + channel] = all.mean;
}

// One warp per channel.
template <class Source>
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_statistics_kernel(Source source, Index c, float eps, float momentum, ChannelVectors v) {
  await_previous_kernels();
  const WarpChannel at(c);
  Moments all = merge_chunks(source, at.lane, at.safe);
  if (!at.writes(c)) return;
  all.mean += source.origin(at.channel);
  write_statistics(v, at.channel, c, all, eps, momentum);
}

// sums [2, C] = those of x and of x^2. Squares of means are taken away again: in double.
template <class Source>
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_sums_kernel(Source source, Index c, double* __restrict__ sums) {
  await_previous_kernels();
  const WarpChannel at(c);
  const Moments all = merge_chunks(source, at.lane, at.safe);
  if (!at.writes(c)) return;
  const double n = all.n, mean = double{source.origin(at.channel)} + double{all.mean};
  sums[at.channel] = n * mean;
  sums[c + at.channel] = double{all.m2} + n * mean * mean;
}

// A thread per channel.
__global__ void __launch_bounds__(kBatchNormThreads)
    statistics_rest_kernel(Index c, double rows, float eps, float momentum,
                           const double* __restrict__ sums, ChannelVectors v) {
  await_previous_kernels();
  const Index channel = Index{blockIdx.x} * kBatchNormThreads + threadIdx.x;
  if (channel >= c) return;
  const double mean = sums[channel] / rows;
  const double m2 = sums[c + channel] - sums[channel] * mean;
  const Moments all = {static_cast<float>(rows), static_cast<float>(mean),
                       m2 < 0 ? 0.0f : static_cast<float>(m2)};
  write_statistics(v, channel, c, all, eps, momentum);
}

// What the readers of y need where the statistics are frozen.
__global__ void __launch_bounds__(kBatchNormThreads)
    frozen_scale_kernel(Index c, float eps, const float* __restrict__ gamma,
                        const float* __restrict__ beta, const float* __restrict__ mean,
                        const float* __restrict__ var, float* __restrict__ on_load) {
  await_previous_kernels();
  const Index first = (Index{blockIdx.x} * kBatchNormThreads + threadIdx.x) * kVector;
  if (first >= c) return;
  const Channels<Second::Variance> channels(first, eps, gamma, beta, mean, var);
  store8(on_load + first, channels.scale);
  store8(on_load + c + first, channels.shift);
  store8(on_load + 2 * c + first, channels.mean);
}

void require_rows(Index rows, Index c) {
  if (rows < 2)
    throw ShapeError("batch norm over [1, " + std::to_string(c) +
                     "]: batch statistics need more than one value per channel");
}

// What SummedMoments reads.
template <class T>
SummedMoments<T> sum_chunks(Stream stream, const BatchNormProblem& p, const T* x, float* scratch) {
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormForwardBlocks);
  launch(stream, "batch_norm_statistics", statistics_kernel<T>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, x, scratch);
  return {tile, p.m, p.c, x, scratch};
}

}  // namespace

template <class T>
void batch_norm_statistics(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                           const float* beta, const float* running_mean, const float* running_var,
                           float* next_mean, float* next_var, float* scratch, float* saved_mean,
                           float* saved_rstd, float* on_load, const ChannelMoments& moments) {
  require_vectors("batch norm", p.c, {x, saved_mean, saved_rstd, on_load, moments.values});
  require_rows(p.m, p.c);
  const auto finish = [&]<class Source>(const Source& source) {
    launch(stream, "batch_norm_finish_statistics", finish_statistics_kernel<Source>,
           blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0, source, p.c,
           static_cast<float>(p.eps), static_cast<float>(p.momentum),
           ChannelVectors{running_mean, running_var, next_mean, next_var, saved_mean, saved_rstd,
                          gamma, beta, on_load});
  };
  if (moments.present()) return finish(GivenMoments{moments, p.c});
  finish(sum_chunks(stream, p, x, scratch));
}

template <class T>
void batch_norm_forward_sums(Stream stream, const BatchNormProblem& p, const T* x, float* scratch,
                             double* sums) {
  require_vectors("batch norm", p.c, {x});
  launch(stream, "batch_norm_finish_sums", finish_sums_kernel<SummedMoments<T>>,
         blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0,
         sum_chunks(stream, p, x, scratch), p.c, sums);
}

void batch_norm_statistics_rest(Stream stream, const BatchNormProblem& p, Index rows,
                                const double* sums, const float* gamma, const float* beta,
                                const float* running_mean, const float* running_var,
                                float* next_mean, float* next_var, float* saved_mean,
                                float* saved_rstd, float* on_load) {
  require_vectors("batch norm", p.c, {saved_mean, saved_rstd, on_load});
  require_rows(rows, p.c);
  launch(stream, "batch_norm_statistics_rest", statistics_rest_kernel,
         blocks(divide_up(p.c, kBatchNormThreads)), kBatchNormThreads, 0, p.c,
         static_cast<double>(rows), static_cast<float>(p.eps), static_cast<float>(p.momentum), sums,
         ChannelVectors{running_mean, running_var, next_mean, next_var, saved_mean, saved_rstd,
                        gamma, beta, on_load});
}

void batch_norm_frozen_statistics(Stream stream, const BatchNormProblem& p, const float* gamma,
                                  const float* beta, const float* mean, const float* var,
                                  float* on_load) {
  require_vectors("batch norm", p.c, {gamma, beta, mean, var, on_load});
  launch(stream, "batch_norm_frozen_statistics", frozen_scale_kernel,
         blocks(divide_up(p.c, Index{kBatchNormThreads} * kVector)), kBatchNormThreads, 0, p.c,
         static_cast<float>(p.eps), gamma, beta, mean, var, on_load);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void batch_norm_statistics(Stream, const BatchNormProblem&, const T*, const float*,  \
                                      const float*, const float*, const float*, float*, float*, \
                                      float*, float*, float*, float*, const ChannelMoments&);   \
  template void batch_norm_forward_sums(Stream, const BatchNormProblem&, const T*, float*, double*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
