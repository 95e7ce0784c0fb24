// Batch normalisation on the device: per-chunk sums, a merge in fixed order, then one pass that
// applies the result. x is read twice forward (statistics, apply) and twice backward.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = BatchNormTile::kThreads;
// Lanes of the merging block that share one channel's chunks.
constexpr int kMergeLanes = 32;
constexpr int kMergeChannels = kThreads / kMergeLanes;

constexpr const char* kName = "batch norm";

// Adds up the lanes of each channel group in a fixed order: v holds `Sums` values per channel.
// The block's sums go to out[value][channel of the tensor].
template <int Sums>
__device__ void write_block_sums(const BatchNormTile& tile, const float (&v)[Sums][kVector],
                                 Index c, float* out) {
  __shared__ float shared[kThreads * kVector];
  const int group = static_cast<int>(threadIdx.x) % tile.groups;
  const int lane = static_cast<int>(threadIdx.x) / tile.groups;
  const int channels = tile.groups * kVector;
  const Index first_channel = Index{blockIdx.y} * channels;
#pragma unroll
  for (int sum = 0; sum < Sums; ++sum) {
    __syncthreads();
    if (lane < tile.lanes) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) shared[lane * channels + group * kVector + i] = v[sum][i];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < channels; i += kThreads) {
      if (first_channel + i >= c) continue;
      float total = 0.0f;
      for (int l = 0; l < tile.lanes; ++l) total += shared[l * channels + i];
      out[sum * c + first_channel + i] = total;
    }
  }
}

// Rows and channels of this thread.
struct Place {
  Index row, end, step, channel;
  bool active;
};

__device__ Place place(const BatchNormTile& tile, Index m, Index c) {
  const int lane = static_cast<int>(threadIdx.x) / tile.groups;
  const Index first = Index{blockIdx.x} * tile.rows;
  const Index end = first + tile.rows < m ? first + tile.rows : m;
  const Index channel =
      (Index{blockIdx.y} * tile.groups + static_cast<int>(threadIdx.x) % tile.groups) * kVector;
  return {first + lane, end, tile.lanes, channel, lane < tile.lanes && channel < c};
}

// partial [chunks, 2, C]: sums of (x - x[0]) and of its square. The first row stands in for the
// mean, so that squares do not cancel when the mean is large against the deviation.
template <class T>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(BatchNormTile tile, Index m, Index c, const T* __restrict__ x,
                      float* __restrict__ partial) {
  float sums[2][kVector] = {};
  const Place at = place(tile, m, c);
  if (at.active) {
    float shift[kVector];
    load8(x + at.channel, shift);
    for (Index row = at.row; row < at.end; row += at.step) {
      float v[kVector];
      load8(x + row * c + at.channel, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float d = v[i] - shift[i];
        sums[0][i] += d;
        sums[1][i] = fmaf(d, d, sums[1][i]);
      }
    }
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

// One warp per channel: each lane merges its chunks, then the lanes merge in a tree.
template <class T>
__global__ void __launch_bounds__(kThreads)
    finish_statistics_kernel(BatchNormTile tile, Index m, Index c, float eps, float momentum,
                             const T* __restrict__ x, const float* __restrict__ partial,
                             const float* __restrict__ running_mean,
                             const float* __restrict__ running_var, float* __restrict__ next_mean,
                             float* __restrict__ next_var, float* __restrict__ saved_mean,
                             float* __restrict__ saved_rstd) {
  const int lane = static_cast<int>(threadIdx.x) % kMergeLanes;
  const Index channel =
      Index{blockIdx.x} * kMergeChannels + static_cast<int>(threadIdx.x) / kMergeLanes;
  const Index at = channel < c ? channel : c - 1;  // every lane takes part in the shuffles
  Moments sum = {0.0f, 0.0f, 0.0f};
  for (Index chunk = lane; chunk < tile.chunks; chunk += kMergeLanes) {
    const Index rows = tile.rows < m - chunk * tile.rows ? tile.rows : m - chunk * tile.rows;
    const float n = static_cast<float>(rows);
    const float s = partial[chunk * 2 * c + at], q = partial[(chunk * 2 + 1) * c + at];
    const float mean = s / n;
    sum = merge(sum, {n, mean, fmaxf(fmaf(-s, mean, q), 0.0f)});
  }
#pragma unroll
  for (int half = kMergeLanes / 2; half > 0; half /= 2) {
    const Moments other = {__shfl_down_sync(kAllLanes, sum.n, half),
                           __shfl_down_sync(kAllLanes, sum.mean, half),
                           __shfl_down_sync(kAllLanes, sum.m2, half)};
    if (lane < half) sum = merge(sum, other);
  }
  if (lane != 0 || channel >= c) return;
  const float mean = to_float(x[channel]) + sum.mean;
  saved_mean[channel] = mean;
  saved_rstd[channel] = 1.0f / sqrtf(sum.m2 / sum.n + eps);
  next_mean[channel] = fmaf(momentum, mean - running_mean[channel], running_mean[channel]);
  next_var[channel] =
      fmaf(momentum, sum.m2 / (sum.n - 1.0f) - running_var[channel], running_var[channel]);
}

// Statistics as saved (second = rstd) or as they run (second = variance).
enum class Second { Rstd, Variance };

// y = act(x * scale + shift) for this thread's channels; forward and backward compute the very
// same value, so that they agree on what the activation clipped.
template <Second second>
struct Channels {
  float mean[kVector], rstd[kVector], scale[kVector], shift[kVector];

  __device__ Channels(Index first, float eps, const float* gamma, const float* beta,
                      const float* means, const float* spreads) {
    float g[kVector], b[kVector];
    load8(gamma + first, g);
    load8(beta + first, b);
    load8(means + first, mean);
    load8(spreads + first, rstd);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if constexpr (second == Second::Variance) rstd[i] = 1.0f / sqrtf(rstd[i] + eps);
      scale[i] = g[i] * rstd[i];
      shift[i] = fmaf(-mean[i], scale[i], b[i]);
    }
  }
  __device__ float value(int i, float x) const {
    return fmaf(x, scale[i], shift[i]);
  }
  __device__ float xhat(int i, float x) const {
    return (x - mean[i]) * rstd[i];
  }
};

template <class T, Second second>
__global__ void __launch_bounds__(kThreads)
    apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                 const T* __restrict__ x, const float* __restrict__ gamma,
                 const float* __restrict__ beta, const float* __restrict__ means,
                 const float* __restrict__ spreads, T* __restrict__ y) {
  const Place at = place(tile, m, c);
  if (!at.active) return;
  const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
  for (Index row = at.row; row < at.end; row += at.step) {
    float v[kVector];
    load8(x + row * c + at.channel, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = activate(act, channels.value(i, v[i]));
    store8(y + row * c + at.channel, v);
  }
}

// partial [chunks, 2, C]: sums of g and of g * xhat, g the gradient behind the activation.
template <class T, Second second>
__global__ void __launch_bounds__(kThreads)
    gradient_sums_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                         const T* __restrict__ x, const T* __restrict__ dy,
                         const float* __restrict__ gamma, const float* __restrict__ beta,
                         const float* __restrict__ means, const float* __restrict__ spreads,
                         float* __restrict__ partial) {
  float sums[2][kVector] = {};
  const Place at = place(tile, m, c);
  if (at.active) {
    const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
    for (Index row = at.row; row < at.end; row += at.step) {
      float v[kVector], g[kVector];
      load8(x + row * c + at.channel, v);
      load8(dy + row * c + at.channel, g);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (!passes_gradient(act, channels.value(i, v[i]))) continue;
        sums[0][i] += g[i];
        sums[1][i] = fmaf(g[i], channels.xhat(i, v[i]), sums[1][i]);
      }
    }
  }
  write_block_sums(tile, sums, c, partial + Index{blockIdx.x} * 2 * c);
}

// dbeta = sum of g, dgamma = sum of g * xhat: one warp per channel, lanes in a tree.
__global__ void __launch_bounds__(kThreads)
    finish_gradients_kernel(Index chunks, Index c, const float* __restrict__ partial,
                            float* __restrict__ dgamma, float* __restrict__ dbeta) {
  const int lane = static_cast<int>(threadIdx.x) % kMergeLanes;
  const Index channel =
      Index{blockIdx.x} * kMergeChannels + static_cast<int>(threadIdx.x) / kMergeLanes;
  const Index at = channel < c ? channel : c - 1;
  float g = 0.0f, g_xhat = 0.0f;
  for (Index chunk = lane; chunk < chunks; chunk += kMergeLanes) {
    g += partial[chunk * 2 * c + at];
    g_xhat += partial[(chunk * 2 + 1) * c + at];
  }
  g = warp_sum(g);
  g_xhat = warp_sum(g_xhat);
  if (lane != 0 || channel >= c) return;
  dgamma[channel] = g_xhat;
  dbeta[channel] = g;
}

// Batch statistics: dx = scale * (g - dbeta / M - xhat * dgamma / M); frozen: dx = scale * g.
template <class T, Second second>
__global__ void __launch_bounds__(kThreads)
    gradient_apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                          const T* __restrict__ x, const T* dy, const float* __restrict__ gamma,
                          const float* __restrict__ beta, const float* __restrict__ means,
                          const float* __restrict__ spreads, const float* __restrict__ dgamma,
                          const float* __restrict__ dbeta, T* dx) {
  const Place at = place(tile, m, c);
  if (!at.active) return;
  const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
  float mean_g[kVector] = {}, mean_g_xhat[kVector] = {};
  if constexpr (second == Second::Rstd) {
    const float share = 1.0f / static_cast<float>(m);
    load8(dbeta + at.channel, mean_g);
    load8(dgamma + at.channel, mean_g_xhat);
#pragma unroll
    for (int i = 0; i < kVector; ++i) mean_g[i] *= share, mean_g_xhat[i] *= share;
  }
  for (Index row = at.row; row < at.end; row += at.step) {
    float v[kVector], g[kVector];
    load8(x + row * c + at.channel, v);
    load8(dy + row * c + at.channel, g);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float passed = passes_gradient(act, channels.value(i, v[i])) ? g[i] : 0.0f;
      g[i] = channels.scale[i] * (passed - mean_g[i] - channels.xhat(i, v[i]) * mean_g_xhat[i]);
    }
    store8(dx + row * c + at.channel, g);
  }
}

dim3 tile_grid(const BatchNormTile& tile) {
  return {static_cast<unsigned>(tile.chunks), static_cast<unsigned>(tile.channel_blocks), 1};
}

template <class T, Second second>
void forward_apply(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                   const float* beta, const float* means, const float* spreads, T* y) {
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c);
  launch(stream, "batch_norm_apply", apply_kernel<T, second>, tile_grid(tile), kThreads, 0, tile,
         p.m, p.c, static_cast<float>(p.eps), p.activation, x, gamma, beta, means, spreads, y);
}

template <class T, Second second>
void backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy, const float* gamma,
              const float* beta, const float* means, const float* spreads, float* scratch,
              float* dgamma, float* dbeta, T* dx) {
  require_vectors(kName, p.c, {x, dy, gamma, beta, means, spreads, dgamma, dbeta, dx});
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c);
  const float eps = static_cast<float>(p.eps);
  launch(stream, "batch_norm_gradient_sums", gradient_sums_kernel<T, second>, tile_grid(tile),
         kThreads, 0, tile, p.m, p.c, eps, p.activation, x, dy, gamma, beta, means, spreads,
         scratch);
  launch(stream, "batch_norm_finish_gradients", finish_gradients_kernel,
         blocks(divide_up(p.c, kMergeChannels)), kThreads, 0, tile.chunks, p.c, scratch, dgamma,
         dbeta);
  if (dx == nullptr) return;
  launch(stream, "batch_norm_gradient_apply", gradient_apply_kernel<T, second>, tile_grid(tile),
         kThreads, 0, tile, p.m, p.c, eps, p.activation, x, dy, gamma, beta, means, spreads, dgamma,
         dbeta, dx);
}

}  // namespace

Index batch_norm_scratch(const BatchNormProblem& p) {
  return BatchNormTile::make(p.m, p.c).chunks * 2 * p.c;
}

template <class T>
void batch_norm_forward(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                        const float* beta, const float* running_mean, const float* running_var,
                        float* next_mean, float* next_var, float* scratch, float* saved_mean,
                        float* saved_rstd, T* y) {
  require_vectors(kName, p.c, {x, gamma, beta, saved_mean, saved_rstd, y});
  if (p.m < 2)
    throw ShapeError("batch norm over [1, " + std::to_string(p.c) +
                     "]: batch statistics need more than one value per channel");
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c);
  launch(stream, "batch_norm_statistics", statistics_kernel<T>, tile_grid(tile), kThreads, 0, tile,
         p.m, p.c, x, scratch);
  launch(stream, "batch_norm_finish_statistics", finish_statistics_kernel<T>,
         blocks(divide_up(p.c, kMergeChannels)), kThreads, 0, tile, p.m, p.c,
         static_cast<float>(p.eps), static_cast<float>(p.momentum), x, scratch, running_mean,
         running_var, next_mean, next_var, saved_mean, saved_rstd);
  forward_apply<T, Second::Rstd>(stream, p, x, gamma, beta, saved_mean, saved_rstd, y);
}

template <class T>
void batch_norm_backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                         const float* gamma, const float* beta, const float* saved_mean,
                         const float* saved_rstd, float* scratch, float* dgamma, float* dbeta,
                         T* dx) {
  backward<T, Second::Rstd>(stream, p, x, dy, gamma, beta, saved_mean, saved_rstd, scratch, dgamma,
                            dbeta, dx);
}

template <class T>
void batch_norm_frozen_forward(Stream stream, const BatchNormProblem& p, const T* x,
                               const float* gamma, const float* beta, const float* mean,
                               const float* var, T* y) {
  require_vectors(kName, p.c, {x, gamma, beta, mean, var, y});
  forward_apply<T, Second::Variance>(stream, p, x, gamma, beta, mean, var, y);
}

template <class T>
void batch_norm_frozen_backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                                const float* gamma, const float* beta, const float* mean,
                                const float* var, float* scratch, float* dgamma, float* dbeta,
                                T* dx) {
  backward<T, Second::Variance>(stream, p, x, dy, gamma, beta, mean, var, scratch, dgamma, dbeta,
                                dx);
}

#define DF_INSTANTIATE(T)                                                                          \
  template void batch_norm_forward(Stream, const BatchNormProblem&, const T*, const float*,        \
                                   const float*, const float*, const float*, float*, float*,       \
                                   float*, float*, float*, T*);                                    \
  template void batch_norm_backward(Stream, const BatchNormProblem&, const T*, const T*,           \
                                    const float*, const float*, const float*, const float*,        \
                                    float*, float*, float*, T*);                                   \
  template void batch_norm_frozen_forward(Stream, const BatchNormProblem&, const T*, const float*, \
                                          const float*, const float*, const float*, T*);           \
  template void batch_norm_frozen_backward(Stream, const BatchNormProblem&, const T*, const T*,    \
                                           const float*, const float*, const float*, const float*, \
                                           float*, float*, float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
