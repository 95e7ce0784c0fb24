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

// Replaces neighbouring channels by what a T would have stored.
template <class T, int N>
__device__ __forceinline__ void normalise(const float (&scale)[N], const float (&shift)[N],
                                          Activation activation, Packed<T, N>& x) {
  float v[N];
  unpack(x, v);
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = normalised(v[i], scale[i], shift[i]);
  x = pack<T>(v);
  clamp_packed(activation, x);
}

// The norm of the channels from `channel` on, for loops that have few registers left: loaded anew
// for each value, four channels at a time.
struct UnloadedNorm {
  const NormOnLoad& norm;
  int channel;

  template <class T>
  __device__ __forceinline__ void apply(Packed<T>& x) const {
    union {
      Packed<T> packed;
      Packed<T, 4> parts[kVector / 4];
    } u = {x};
#pragma unroll
    for (int i = 0; i < kVector / 4; ++i) {
      float scale[4], shift[4];
      unpack(load_packed<4>(norm.scale + channel + 4 * i), scale);
      unpack(load_packed<4>(norm.shift + channel + 4 * i), shift);
      normalise(scale, shift, norm.activation, u.parts[i]);
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
    normalise(scale_, shift_, activation_, x);
  }

 private:
  float scale_[N], shift_[N];
  Activation activation_;
};

}  // namespace dfengine::cuda
