// The epilogue of convolutions (kernels/epilogue.h) on eight channels of one output pixel.
#pragma once

#include "kernels/cuda/platform.cuh"
#include "kernels/epilogue.h"

namespace dfengine::cuda {

// The bias of the eight channels from `channel` on; zeros when there is none.
template <class T>
__device__ __forceinline__ void load_bias(const Epilogue<T, float>& epilogue, int channel,
                                          float (&bias)[kVector]) {
#pragma unroll
  for (float& b : bias) b = 0.0f;
  if (epilogue.bias != nullptr) load8(epilogue.bias + channel, bias);
}

// y[at...] = activation(sum + bias) + residual[at...]. The residual may be y.
template <class T>
__device__ __forceinline__ void store_output(const Epilogue<T, float>& epilogue,
                                             const float (&bias)[kVector], Index at,
                                             float (&sum)[kVector], T* y) {
  float residual[kVector] = {};
  if (epilogue.residual != nullptr) load8(epilogue.residual + at, residual);
#pragma unroll
  for (int i = 0; i < kVector; ++i)
    sum[i] = clamp(epilogue.activation, sum[i] + bias[i]) + residual[i];
  store8(y + at, sum);
}

}  // namespace dfengine::cuda
