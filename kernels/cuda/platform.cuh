// What kernels are written against: CUDA, or in builds without it its stand-in on the CPU.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "kernels/cuda/emulated/emulator.h"
#endif

#include "kernels/activation_function.h"
#include "kernels/base/half.h"
#include "kernels/base/shape.h"

namespace dfengine::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// Lets the next kernel come as far as its own await_previous_kernels().
__device__ __forceinline__ void admit_next_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// What every kernel does before it touches device memory, but for reading what no kernel writes.
// One that was launched while those before it still run waits here until they have ended and what
// they wrote can be read. A kernel that did not wait would let the one behind it read what is not
// written yet.
__device__ __forceinline__ void await_previous_kernels() {
  admit_next_kernel();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- Storage types to and from float, rounding to nearest even ----------------------------------

__device__ __forceinline__ float to_float(float x) {
  return x;
}

template <class T>
__device__ T from_float(float x);

template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}

#if defined(__CUDACC__)

__device__ __forceinline__ float to_float(Half x) {
  return __half2float(__ushort_as_half(x.bits));
}
__device__ __forceinline__ float to_float(BFloat16 x) {
  return __bfloat162float(__ushort_as_bfloat16(x.bits));
}
template <>
__device__ __forceinline__ Half from_float<Half>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}
template <>
__device__ __forceinline__ BFloat16 from_float<BFloat16>(float x) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}

#else

inline float to_float(Half x) {
  return f16_to_float(x.bits);
}
inline float to_float(BFloat16 x) {
  return bf16_to_float(x.bits);
}
template <>
inline Half from_float<Half>(float x) {
  return {float_to_f16(x)};
}
template <>
inline BFloat16 from_float<BFloat16>(float x) {
  return {float_to_bf16(x)};
}

#endif

// ---- Sixteen-byte accesses ----------------------------------------------------------------------

// Channels that one thread handles together: a multiple of 8 channels is what CUDA kernels take.
constexpr int kVector = 8;

// p is aligned to 16 bytes.
template <class T>
__device__ __forceinline__ void load8(const T* p, float (&v)[kVector]) {
  if constexpr (sizeof(T) == 4) {
    const float4 low = *reinterpret_cast<const float4*>(p);
    const float4 high = *reinterpret_cast<const float4*>(p + 4);
    v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
    v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
  } else {
    union {
      uint4 words;
      T values[kVector];
    } u = {*reinterpret_cast<const uint4*>(p)};
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = to_float(u.values[i]);
  }
}

template <class T>
__device__ __forceinline__ void store8(T* p, const float (&v)[kVector]) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(p) = {v[0], v[1], v[2], v[3]};
    *reinterpret_cast<float4*>(p + 4) = {v[4], v[5], v[6], v[7]};
  } else {
    union {
      T values[kVector];
      uint4 words;
    } u;
#pragma unroll
    for (int i = 0; i < kVector; ++i) u.values[i] = from_float<T>(v[i]);
    *reinterpret_cast<uint4*>(p) = u.words;
  }
}

// ---- Small things every kernel needs ------------------------------------------------------------

// activate() by two bounds that a loop keeps in registers, so that it costs two instructions a
// value.
__device__ __forceinline__ float clamp(Activation activation, float x) {
#if defined(__CUDA_ARCH__)
  const float low = activation == Activation::None ? -INFINITY : 0.0f;
  const float high = activation == Activation::Relu6 ? 6.0f : INFINITY;
  asm("max.NaN.f32 %0, %0, %1;\n\tmin.NaN.f32 %0, %0, %2;" : "+f"(x) : "f"(low), "f"(high));
  return x;
#else
  return activate(activation, x);
#endif
}

// passes_gradient() by two bounds too. Where there is none stands NaN, with which nothing compares.
__device__ __forceinline__ bool passes_gradient(Activation activation, float x) {
#if defined(__CUDA_ARCH__)
  const float low = activation == Activation::None ? NAN : 0.0f;
  const float high = activation == Activation::Relu6 ? 6.0f : NAN;
  return !(x <= low) && !(x >= high);
#else
  return dfengine::passes_gradient(activation, x);
#endif
}

// The sum over the warp, with the same bits in every lane.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(kAllLanes, x, mask);
  return x;
}

// The sum over a block of `Threads` threads in a fixed order, in thread 0. Between two calls a
// kernel has a barrier.
template <int Threads>
__device__ float block_sum(float x) {
  __shared__ float warps[Threads / kWarpSize];
  x = warp_sum(x);
  if (threadIdx.x % kWarpSize == 0) warps[threadIdx.x / kWarpSize] = x;
  __syncthreads();
  float sum = 0.0f;
  if (threadIdx.x == 0)
    for (int i = 0; i < Threads / kWarpSize; ++i) sum += warps[i];
  return sum;
}

}  // namespace dfengine::cuda

// Dynamic shared memory, aligned to 16 bytes.
#if defined(__CUDACC__)
#define DF_DYNAMIC_SHARED(name) extern __shared__ __align__(16) std::byte name[]
#else
#define DF_DYNAMIC_SHARED(name) std::byte* const name = dfengine::cuda::emulated::dynamic_shared()
#endif
