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

// The norm of the channels from `channel` on, for loops that have few registers left: loaded anew
// for each value, four channels at a time.
struct UnloadedNorm {
  const NormOnLoad& norm;
  Index channel;

  template <class T, int N>
  __device__ __forceinline__ void apply(Packed<T, N>& x) const {
    union {
      Packed<T, N> packed;
      T values[N];
    } u = {x};
#pragma unroll
    for (int first = 0; first < N; first += 4) {
      float scale[4], shift[4];
      unpack(load_packed<4>(norm.scale + channel + first), scale);
      unpack(load_packed<4>(norm.shift + channel + first), shift);
      normalise(scale, shift, norm.activation, u.values + first);
    }
    x = u.packed;
  }
};

// The norm of so many channels kept in registers, where there is room.
template <int N = kVector>
class LoadedNorm {
 public:
  __device__ __forceinline__ LoadedNorm(const NormOnLoad& norm, Index channel)
      : activation_(norm.activation) {
    unpack(load_packed<N>(norm.scale + channel), scale_);
    unpack(load_packed<N>(norm.shift + channel), shift_);
  }
  template <class T>
  __device__ __forceinline__ void apply(Packed<T, N>& x) const {
    union {
      Packed<T, N> packed;
      T values[N];
    } u = {x};
    normalise(scale_, shift_, activation_, u.values);
    x = u.packed;
  }

 private:
  float scale_[N], shift_[N];
  Activation activation_;
};

}  // namespace dfengine::cuda
