// The last step of a batch norm. The kernel that stores its result and those that apply it to what
// they load share it, because they must give the same bits.
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

// Replaces the values of so many neighbouring channels by what a T would have stored.
template <int kChannels, class T>
__device__ __forceinline__ void normalise(const float (&scale)[kChannels],
                                          const float (&shift)[kChannels], Activation activation,
                                          T* values) {
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const float v = normalised(to_float(values[i]), scale[i], shift[i]);
    values[i] = from_float<T>(clamp(activation, v));
  }
}

// The same for the eight channels from `channel` on. It takes four at a time, because few registers
// are left where it is called.
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
    normalise(scales, shifts, norm.activation, u.values + first);
  }
  x = u.packed;
}

// The norm of eight channels kept in registers, where there is room.
class LoadedNorm {
 public:
  __device__ __forceinline__ LoadedNorm(const NormOnLoad& norm, Index channel)
      : activation_(norm.activation) {
    load8(norm.scale + channel, scale_);
    load8(norm.shift + channel, shift_);
  }
  template <class T>
  __device__ __forceinline__ void apply(Packed<T>& x) const {
    union {
      Packed<T> packed;
      T values[kVector];
    } u = {x};
    normalise(scale_, shift_, activation_, u.values);
    x = u.packed;
  }

 private:
  float scale_[kVector], shift_[kVector];
  Activation activation_;
};

}  // namespace dfengine::cuda
