// The pointwise forward pass that leaves the moments of y to the batch norm behind it.
#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_requirements.h"

namespace dfengine::cuda {

template <class T>
void pointwise_forward_moments(Stream stream, const PointwiseConfig& config,
                               const PointwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments) {
  require_tensor_cores(p, {x, w, y, norm.scale, norm.shift, moments.values});
  require_parts(moments.parts, row_parts(config, p.m, p.k));
  const Product<T> product = forward_product<T>(p, x, w, {}, norm, y);
  with_tile(config.tile, [&](auto tile) {
    multiply_with_moments<PaddedRing<decltype(tile), false>>(stream, "pointwise_forward_moments",
                                                             product, moments);
  });
}

#define DF_INSTANTIATE(T)                                                                          \
  template void pointwise_forward_moments(Stream, const PointwiseConfig&, const PointwiseProblem&, \
                                          const T*, const T*, const NormOnLoad&, T*,               \
                                          const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
