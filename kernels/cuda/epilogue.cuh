// The epilogue of convolutions (kernels/epilogue.h) on neighbouring channels of one output pixel.
#pragma once

#include "kernels/cuda/packed.cuh"
#include "kernels/epilogue.h"

namespace dfengine::cuda {

// The bias of so many channels from `channel` on; zeros when there is none.
template <class T, int N>
__device__ __forceinline__ void load_bias(const Epilogue<T, float>& epilogue, int channel,
                                          float (&bias)[N]) {
#pragma unroll
  for (float& b : bias) b = 0.0f;
  if (epilogue.bias != nullptr) unpack(load_packed<N>(epilogue.bias + channel), bias);
}

// y[at...] = activation(sum + bias) + residual[at...]. The residual may be y.
template <class T, int N>
__device__ __forceinline__ void store_output(const Epilogue<T, float>& epilogue,
                                             const float (&bias)[N], Index at, float (&sum)[N],
                                             T* y) {
  float residual[N] = {};
  if (epilogue.residual != nullptr) unpack(load_packed<N>(epilogue.residual + at), residual);
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = clamp(epilogue.activation, sum[i] + bias[i]) + residual[i];
  store_packed(y + at, pack<T>(sum));
}

}  // namespace dfengine::cuda
