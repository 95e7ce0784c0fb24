// Batch norm's last step, shared by the kernel that stores its result and those that apply it to
// what they load: they must give the same bits.
#pragma once

#include "kernels/cuda/packed.cuh"
#include "kernels/norm_on_load.h"

namespace dfengine::cuda {

// The factor and the summand that statistics and parameters make of a channel.
struct ScaleShift {
  float scale, shift;
};
__device__ __forceinline__ ScaleShift scale_shift(float gamma, float beta, float mean, float rstd) {
  const float scale = gamma * rstd;
  return {scale, fmaf(-mean, scale, beta)};
}

// What the activation sees.
__device__ __forceinline__ float normalised(float x, float scale, float shift) {
  return fmaf(x, scale, shift);
}

// The values of the eight channels from `channel` on become what a T would have stored. Four at a
// time: the kernels that call this have few registers left.
template <class T>
__device__ __forceinline__ void normalise(const NormOnLoad& norm, Index channel, Packed<T>& x) {
  union {
    Packed<T> packed;
    T values[kVector];
  } u = {x};
#pragma unroll
  for (int first = 0; first < kVector; first += 4) {
    const float4 scale = *reinterpret_cast<const float4*>(norm.scale + channel + first);
    const float4 shift = *reinterpret_cast<const float4*>(norm.shift + channel + first);
    const float scales[] = {scale.x, scale.y, scale.z, scale.w};
    const float shifts[] = {shift.x, shift.y, shift.z, shift.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float v = normalised(to_float(u.values[first + i]), scales[i], shifts[i]);
      u.values[first + i] = from_float<T>(activate(norm.activation, v));
    }
  }
  x = u.packed;
}

}  // namespace dfengine::cuda
