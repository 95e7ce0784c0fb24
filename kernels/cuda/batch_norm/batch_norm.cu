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
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormForwardBlocks)
    apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                 const T* __restrict__ x, const float* __restrict__ gamma,
                 const float* __restrict__ beta, const float* __restrict__ means,
                 const float* __restrict__ spreads, T* __restrict__ y) {
  await_previous_kernels();
  const BatchNormPlace at = batch_norm_place(tile, m, c);
  if (!at.active) return;
  const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
  for_each_row<T>(
      at, [&](Index row) { return load_packed(x + row * c + at.channel); },
      [&](Index row, const Packed<T>& packed) {
        float v[kVector];
        unpack(packed, v);
#pragma unroll
        for (int i = 0; i < kVector; ++i) v[i] = clamp(act, channels.value(i, v[i]));
        store8(y + row * c + at.channel, v);
      });
}

// partial [chunks, 2, C] = the sums of g and of g * (x - mean), where g is the gradient behind the
// activation.
template <class T, Second second>
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormBackwardBlocks)
    gradient_sums_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                         const T* __restrict__ x, const T* __restrict__ dy,
                         const float* __restrict__ gamma, const float* __restrict__ beta,
                         const float* __restrict__ means, const float* __restrict__ spreads,
                         float* __restrict__ partial) {
  await_previous_kernels();
  float sums[2][kVector] = {};
  const BatchNormPlace at = batch_norm_place(tile, m, c);
  if (at.active) {
    const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
    for_each_row<T>(
        at,
        [&](Index row) -> GradientRow<T> {
          return {load_packed(x + row * c + at.channel), load_packed(dy + row * c + at.channel)};
        },
        [&](Index, const GradientRow<T>& packed) {
          float v[kVector], g[kVector];
          unpack(packed.x, v);
          unpack(packed.g, g);
#pragma unroll
          for (int i = 0; i < kVector; ++i) {
            if (!passes_gradient(act, channels.value(i, v[i]))) continue;
            sums[0][i] += g[i];
            sums[1][i] = fmaf(g[i], v[i] - channels.mean[i], sums[1][i]);
          }
        });
  }
  write_block_sums(tile, sums, c, partial + Index{blockIdx.x} * 2 * c);
}

// dbeta = the sum of g and dgamma = the sum of g * xhat, with xhat = (x - mean) * rstd. Where the
// rows are a slice of a batch, of_slice [2, C] are the sums of g and of g * (x - mean).
template <Second second>
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_gradients_kernel(Index chunks, Index c, float eps, const float* __restrict__ spreads,
                            const float* __restrict__ partial, float* __restrict__ dgamma,
                            float* __restrict__ dbeta, double* __restrict__ of_slice) {
  await_previous_kernels();
  const WarpChannel at(c);
  const PairOfSums all = add_chunks(partial, chunks, c, at);
  if (!at.writes(c)) return;
  dgamma[at.channel] = all.g_deviation * rstd_of<second>(spreads[at.channel], eps);
  dbeta[at.channel] = all.g;
  if (of_slice == nullptr) return;
  of_slice[at.channel] = double{all.g};
  of_slice[c + at.channel] = double{all.g_deviation};
}

// dgamma and dbeta of a whole batch, from the sums of its slices.
__global__ void __launch_bounds__(kBatchNormThreads)
    whole_gradients_kernel(Index c, const double* __restrict__ sums, const float* __restrict__ rstd,
                           float* __restrict__ dgamma, float* __restrict__ dbeta) {
  await_previous_kernels();
  const Index channel = Index{blockIdx.x} * kBatchNormThreads + threadIdx.x;
  if (channel >= c) return;
  dgamma[channel] = static_cast<float>(sums[c + channel]) * rstd[channel];
  dbeta[channel] = static_cast<float>(sums[channel]);
}

// dx = scale * (g - share * dbeta - share * xhat * dgamma) with batch statistics, where share is 1
// in the rows of the batch, which is scale * g + (offset + slope * x), and dx = scale * g with
// frozen ones. dx may be dy.
template <class T, Second second>
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormBackwardBlocks)
    gradient_apply_kernel(BatchNormTile tile, Index m, Index c, float eps, Activation act,
                          const T* __restrict__ x, const T* dy, const float* __restrict__ gamma,
                          const float* __restrict__ beta, const float* __restrict__ means,
                          const float* __restrict__ spreads, const float* __restrict__ dgamma,
                          const float* __restrict__ dbeta, float share, T* dx) {
  await_previous_kernels();
  const BatchNormPlace at = batch_norm_place(tile, m, c);
  if (!at.active) return;
  const Channels<second> channels(at.channel, eps, gamma, beta, means, spreads);
  float offset[kVector] = {}, slope[kVector] = {};
  if constexpr (second == Second::Rstd) {
    load8(dbeta + at.channel, offset);
    load8(dgamma + at.channel, slope);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      slope[i] *= -share * channels.scale[i] * channels.rstd[i];
      offset[i] = fmaf(-share * channels.scale[i], offset[i], -slope[i] * channels.mean[i]);
    }
  }
  for_each_row<T>(
      at,
      [&](Index row) -> GradientRow<T> {
        return {load_packed(x + row * c + at.channel), load_packed(dy + row * c + at.channel)};
      },
      [&](Index row, const GradientRow<T>& packed) {
        float v[kVector], g[kVector];
        unpack(packed.x, v);
        unpack(packed.g, g);
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const float passed = passes_gradient(act, channels.value(i, v[i])) ? g[i] : 0.0f;
          g[i] = fmaf(channels.scale[i], passed, fmaf(slope[i], v[i], offset[i]));
        }
        store8(dx + row * c + at.channel, g);
      });
}

template <class T, Second second>
void forward_apply(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                   const float* beta, const float* means, const float* spreads, T* y) {
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormForwardBlocks);
  launch(stream, "batch_norm_apply", apply_kernel<T, second>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, static_cast<float>(p.eps), p.activation, x, gamma,
         beta, means, spreads, y);
}

template <class T, Second second>
void parameter_gradients(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                         const float* gamma, const float* beta, const float* means,
                         const float* spreads, float* scratch, float* dgamma, float* dbeta,
                         double* sums) {
  require_vectors(kName, p.c, {x, dy, gamma, beta, means, spreads});
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormBackwardBlocks);
  const float eps = static_cast<float>(p.eps);
  launch(stream, "batch_norm_gradient_sums", gradient_sums_kernel<T, second>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, eps, p.activation, x, dy, gamma, beta, means,
         spreads, scratch);
  launch(stream, "batch_norm_finish_gradients", finish_gradients_kernel<second>,
         blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0, tile.chunks, p.c,
         eps, spreads, scratch, dgamma, dbeta, sums);
}

// rows: of the batch, whose dgamma and dbeta these are.
template <class T, Second second>
void data_gradient(Stream stream, const BatchNormProblem& p, Index rows, const T* x, const T* dy,
                   const float* gamma, const float* beta, const float* means, const float* spreads,
                   const float* dgamma, const float* dbeta, T* dx) {
  require_vectors(kName, p.c, {x, dy, gamma, beta, means, spreads, dgamma, dbeta, dx});
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormBackwardBlocks);
  launch(stream, "batch_norm_gradient_apply", gradient_apply_kernel<T, second>,
         batch_norm_grid(tile), kBatchNormThreads, 0, tile, p.m, p.c, static_cast<float>(p.eps),
         p.activation, x, dy, gamma, beta, means, spreads, dgamma, dbeta,
         1.0f / static_cast<float>(rows), dx);
}

template <class T, Second second>
void backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy, const float* gamma,
              const float* beta, const float* means, const float* spreads, float* scratch,
              float* dgamma, float* dbeta, T* dx) {
  parameter_gradients<T, second>(stream, p, x, dy, gamma, beta, means, spreads, scratch, dgamma,
                                 dbeta, nullptr);
  if (dx != nullptr)
    data_gradient<T, second>(stream, p, p.m, x, dy, gamma, beta, means, spreads, dgamma, dbeta, dx);
}

}  // namespace

Index batch_norm_scratch(const BatchNormProblem& p) {
  const Index forward = BatchNormTile::make(p.m, p.c, kBatchNormForwardBlocks).chunks;
  const Index backward = BatchNormTile::make(p.m, p.c, kBatchNormBackwardBlocks).chunks;
  return std::max(forward, backward) * 2 * p.c;
}

template <class T>
void batch_norm_forward(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                        const float* beta, const float* running_mean, const float* running_var,
                        float* next_mean, float* next_var, float* scratch, float* saved_mean,
                        float* saved_rstd, T* y, const ChannelMoments& moments) {
  require_vectors(kName, p.c, {x, gamma, beta, saved_mean, saved_rstd, y});
  batch_norm_statistics(stream, p, x, gamma, beta, running_mean, running_var, next_mean, next_var,
                        scratch, saved_mean, saved_rstd, nullptr, moments);
  batch_norm_again(stream, p, x, gamma, beta, saved_mean, saved_rstd, y);
}

template <class T>
void batch_norm_again(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                      const float* beta, const float* saved_mean, const float* saved_rstd, T* y) {
  require_vectors(kName, p.c, {x, gamma, beta, saved_mean, saved_rstd, y});
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
void batch_norm_forward_rest(Stream stream, const BatchNormProblem& p, Index rows,
                             const double* sums, const T* x, const float* gamma, const float* beta,
                             const float* running_mean, const float* running_var, float* next_mean,
                             float* next_var, float* saved_mean, float* saved_rstd, T* y) {
  require_vectors(kName, p.c, {x, gamma, beta, saved_mean, saved_rstd, y});
  batch_norm_statistics_rest(stream, p, rows, sums, gamma, beta, running_mean, running_var,
                             next_mean, next_var, saved_mean, saved_rstd, nullptr);
  batch_norm_again(stream, p, x, gamma, beta, saved_mean, saved_rstd, y);
}

template <class T>
void batch_norm_backward_sums(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                              const float* gamma, const float* beta, const float* saved_mean,
                              const float* saved_rstd, float* scratch, float* dgamma, float* dbeta,
                              double* sums) {
  parameter_gradients<T, Second::Rstd>(stream, p, x, dy, gamma, beta, saved_mean, saved_rstd,
                                       scratch, dgamma, dbeta, sums);
}

template <class T>
void batch_norm_backward_rest(Stream stream, const BatchNormProblem& p, Index rows,
                              const double* sums, const T* x, const T* dy, const float* gamma,
                              const float* beta, const float* saved_mean, const float* saved_rstd,
                              float* scratch, T* dx) {
  float *dgamma = scratch, *dbeta = scratch + p.c;
  launch(stream, "batch_norm_whole_gradients", whole_gradients_kernel,
         blocks(divide_up(p.c, kBatchNormThreads)), kBatchNormThreads, 0, p.c, sums, saved_rstd,
         dgamma, dbeta);
  data_gradient<T, Second::Rstd>(stream, p, rows, x, dy, gamma, beta, saved_mean, saved_rstd,
                                 dgamma, dbeta, dx);
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
                                   float*, float*, float*, T*, const ChannelMoments&);             \
  template void batch_norm_again(Stream, const BatchNormProblem&, const T*, const float*,          \
                                 const float*, const float*, const float*, T*);                    \
  template void batch_norm_backward(Stream, const BatchNormProblem&, const T*, const T*,           \
                                    const float*, const float*, const float*, const float*,        \
                                    float*, float*, float*, T*);                                   \
  template void batch_norm_forward_rest(Stream, const BatchNormProblem&, Index, const double*,     \
                                        const T*, const float*, const float*, const float*,        \
                                        const float*, float*, float*, float*, float*, T*);         \
  template void batch_norm_backward_sums(Stream, const BatchNormProblem&, const T*, const T*,      \
                                         const float*, const float*, const float*, const float*,   \
                                         float*, float*, float*, double*);                         \
  template void batch_norm_backward_rest(Stream, const BatchNormProblem&, Index, const double*,    \
                                         const T*, const T*, const float*, const float*,           \
                                         const float*, const float*, float*, T*);                  \
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
