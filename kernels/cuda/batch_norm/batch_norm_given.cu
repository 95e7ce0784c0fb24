// Batch norm's gradient from the sums that a convolution has made (kernels/norm_gradient.h): x is
// read once, or by the convolution that made it.
#include "kernels/batch_norm.h"
#include "kernels/cuda/batch_norm/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

// Per-channel vectors that finish_kernel reads and writes, each [C].
struct GradientVectors {
  const float *gamma, *mean, *rstd;
  float *dgamma, *dbeta;
  float *scale, *slope, *offset;
};

// share: 1 in the rows of the batch.
__global__ void __launch_bounds__(kBatchNormThreads)
    finish_kernel(GradientSums sums, Index c, float share, GradientVectors v) {
  await_previous_kernels();
  const WarpChannel at(c);
  const Index channel = at.channel;
  const PairOfSums all = add_chunks(sums.values, sums.parts, c, at);
  if (!at.writes(c)) return;
  const float rstd = v.rstd[channel], scale = v.gamma[channel] * rstd;
  const float dgamma = all.g_deviation * rstd;
  const float slope = -share * scale * rstd * dgamma;
  v.dgamma[channel] = dgamma;
  v.dbeta[channel] = all.g;
  v.scale[channel] = scale;
  v.slope[channel] = slope;
  v.offset[channel] = fmaf(-share * scale, all.g, -slope * v.mean[channel]);
}

// dx may be g.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads, kBatchNormBackwardBlocks)
    apply_gradient_kernel(BatchNormTile tile, Index m, Index c, const T* __restrict__ x, const T* g,
                          const float* __restrict__ factors, T* dx) {
  await_previous_kernels();
  const BatchNormPlace at = batch_norm_place(tile, m, c);
  if (!at.active) return;
  float scale[kVector], slope[kVector], offset[kVector];
  load8(factors + at.channel, scale);
  load8(factors + c + at.channel, slope);
  load8(factors + 2 * c + at.channel, offset);
  for_each_row<T>(
      at,
      [&](Index row) -> GradientRow<T> {
        return {load_packed(x + row * c + at.channel), load_packed(g + row * c + at.channel)};
      },
      [&](Index row, const GradientRow<T>& packed) {
        float v[kVector], d[kVector];
        unpack(packed.x, v);
        unpack(packed.g, d);
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          d[i] = fmaf(scale[i], d[i], fmaf(slope[i], v[i], offset[i]));
        store8(dx + row * c + at.channel, d);
      });
}

}  // namespace

template <class T>
void batch_norm_backward_given(Stream stream, const BatchNormProblem& p, const GradientSums& sums,
                               const T* x, const T* g, const float* gamma, const float* saved_mean,
                               const float* saved_rstd, float* factors, float* dgamma, float* dbeta,
                               T* dx) {
  require_vectors("batch norm", p.c, {sums.values, x, g, factors, dx});
  launch(stream, "batch_norm_finish_given", finish_kernel,
         blocks(divide_up(p.c, kBatchNormMergeChannels)), kBatchNormThreads, 0, sums, p.c,
         1.0f / static_cast<float>(p.m),
         GradientVectors{gamma, saved_mean, saved_rstd, dgamma, dbeta, factors, factors + p.c,
                         factors + 2 * p.c});
  if (dx == nullptr) return;
  const BatchNormTile tile = BatchNormTile::make(p.m, p.c, kBatchNormBackwardBlocks);
  launch(stream, "batch_norm_apply_gradient", apply_gradient_kernel<T>, batch_norm_grid(tile),
         kBatchNormThreads, 0, tile, p.m, p.c, x, g, factors, dx);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void batch_norm_backward_given(Stream, const BatchNormProblem&, const GradientSums&, \
                                          const T*, const T*, const float*, const float*,       \
                                          const float*, float*, float*, float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
