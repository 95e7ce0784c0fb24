// Batch normalisation on the device: per-chunk sums, a merge in fixed order, then one pass that
// applies the result, unless the readers of y do (kernels/norm_on_load.h). x is read twice forward
// (statistics, apply) and twice backward.
#include "kernels/batch_norm.h"

#include "kernels/cuda/batch_norm/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr const char* kName = "batch norm";

template <class T, Second second>
__global__ void __launch_bounds__(kBatchNormThreads)
    apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                 const T* __restrict__ x, const float* __restrict__ gamma,
                 const float* __restrict__ beta, const float* __restrict__ means,
                 const float* __restrict__ spreads, T* __restrict__ y) {
  const BatchNormPlace at = batch_norm_place(tile, m, c);
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

// partial [chunks, 2, C] = the sums of g and of g * xhat, where g is the gradient behind the
// activation.
template <class T, Second second>
__global__ void __launch_bounds__(kBatchNormThreads)
    gradient_sums_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                         const T* __restrict__ x, const T* __restrict__ dy,
                         const float* __restrict__ gamma, const float* __restrict__ beta,
                         const float* __restrict__ means, const float* __restrict__ spreads,
                         float* __restrict__ partial) {
  float sums[2][kVector] = {};
  const BatchNormPlace at = batch_norm_place(tile, m, c);
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

// dbeta = the sum of g and dgamma = the sum of g * xhat. One warp per channel adds its lanes in a
// tree.
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_gradients_kernel(Index chunks, Index c, const float* __restrict__ partial,
                            float* __restrict__ dgamma, float* __restrict__ dbeta) {
  const int lane = static_cast<int>(threadIdx.x) % kBatchNormMergeLanes;
  const Index channel = Index{blockIdx.x} * kBatchNormMergeChannels +
                        static_cast<int>(threadIdx.x) / kBatchNormMergeLanes;
  const Index at = channel < c ? channel : c - 1;
  float g = 0.0f, g_xhat = 0.0f;
  for (Index chunk = lane; chunk < chunks; chunk += kBatchNormMergeLanes) {
    g += partial[chunk * 2 * c + at];
    g_xhat += partial[(chunk * 2 + 1) * c + at];
  }
  g = warp_sum(g);
  g_xhat = warp_sum(g_xhat);
  if (lane != 0 || channel >= c) return;
  dgamma[channel] = g_xhat;
  dbeta[channel] = g;
}

// dx = scale * (g - dbeta / M - xhat * dgamma / M) with batch statistics, and dx = scale * g with
// frozen ones.
template <class T, Second second>
__global__ void __launch_bounds__(kBatchNormThreads)
    gradient_apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                          const T* __restrict__ x, const T* dy, const float* __restrict__ gamma,
                          const float* __restrict__ beta, const float* __restrict__ means,
                          const float* __restrict__ spreads, const float* __restrict__ dgamma,
                          const float* __restrict__ dbeta, T* dx) {
  const BatchNormPlace at = batch_norm_place(tile, m, c);
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

template <class T, Second second>
void forward_apply(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                   const float* beta, const float* means, const float* spreads, T* y) {
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c);
  launch(stream, "batch_norm_apply", apply_kernel<T, second>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, static_cast<float>(p.eps), p.activation, x, gamma,
         beta, means, spreads, y);
}

template <class T, Second second>
void backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy, const float* gamma,
              const float* beta, const float* means, const float* spreads, float* scratch,
              float* dgamma, float* dbeta, T* dx) {
  require_vectors(kName, p.c, {x, dy, gamma, beta, means, spreads, dgamma, dbeta, dx});
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c);
  const float eps = static_cast<float>(p.eps);
  launch(stream, "batch_norm_gradient_sums", gradient_sums_kernel<T, second>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, eps, p.activation, x, dy, gamma, beta, means,
         spreads, scratch);
  launch(stream, "batch_norm_finish_gradients", finish_gradients_kernel,
         blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0, tile.chunks, p.c,
         scratch, dgamma, dbeta);
  if (dx == nullptr) return;
  launch(stream, "batch_norm_gradient_apply", gradient_apply_kernel<T, second>,
         batch_norm_grid(tile), kBatchNormThreads, 0, tile, p.m, p.c, eps, p.activation, x, dy,
         gamma, beta, means, spreads, dgamma, dbeta, dx);
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
  batch_norm_statistics(stream, p, x, gamma, beta, running_mean, running_var, next_mean, next_var,
                        scratch, saved_mean, saved_rstd, nullptr, nullptr);
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
