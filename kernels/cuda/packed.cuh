// Neighbouring channels as they lie in memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/platform.cuh"

namespace dfengine::cuda {

// So many neighbours, in the widest words that divide them: 16 bytes, or 8. Values that wait in
// registers take half the room that floats would.
template <class T, int N = kVector>
struct Packed {
  using Word = std::conditional_t<sizeof(T) * N % sizeof(uint4) == 0, uint4, uint2>;
  static constexpr int kWords = sizeof(T) * N / sizeof(Word);
  static_assert(kWords * sizeof(Word) == sizeof(T) * N);
  Word words[kWords];
};

template <class T, int N = kVector>
__device__ __forceinline__ Packed<T, N> zeros() {
  Packed<T, N> v;
#pragma unroll
  for (auto& word : v.words) word = {};
  return v;
}

// p is aligned to a word.
template <int N = kVector, class T>
__device__ __forceinline__ Packed<T, N> load_packed(const T* p) {
  Packed<T, N> v;
#pragma unroll
  for (int i = 0; i < v.kWords; ++i)
    v.words[i] = reinterpret_cast<const typename Packed<T, N>::Word*>(p)[i];
  return v;
}

template <class T, int N>
__device__ __forceinline__ void store_packed(T* p, const Packed<T, N>& v) {
#pragma unroll
  for (int i = 0; i < v.kWords; ++i)
    reinterpret_cast<typename Packed<T, N>::Word*>(p)[i] = v.words[i];
}

template <class T, int N>
__device__ __forceinline__ void unpack(const Packed<T, N>& packed, float (&v)[N]) {
  union {
    Packed<T, N> packed;
    T values[N];
  } u = {packed};
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = to_float(u.values[i]);
}

// Two neighbours of 16 bits, the left one in the lower half.
template <class T>
__device__ __forceinline__ std::uint32_t pack_pair(float left, float right) {
#if defined(__CUDACC__)
  // One instruction; two conversions and their merging would be three.
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, Half>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
  return pair;
#else
  return static_cast<std::uint32_t>(from_float<T>(left).bits) |
         static_cast<std::uint32_t>(from_float<T>(right).bits) << 16;
#endif
}

template <class T>
__device__ __forceinline__ void unpack_pair(std::uint32_t pair, float (&v)[2]) {
  union {
    std::uint32_t pair;
    T values[2];
  } u = {pair};
  v[0] = to_float(u.values[0]);
  v[1] = to_float(u.values[1]);
}

// clamp() of both values of a pair: the bounds of an activation, each in both halves.
struct PairBounds {
  std::uint32_t low, high;
};
template <class T>
__device__ __forceinline__ PairBounds pair_bounds(Activation activation) {
  const float low = activation == Activation::None ? -INFINITY : 0.0f;
  const float high = activation == Activation::Relu6 ? 6.0f : INFINITY;
  return {pack_pair<T>(low, low), pack_pair<T>(high, high)};
}
// NaN stays.
template <class T>
__device__ __forceinline__ std::uint32_t clamp_pair(const PairBounds& bounds, std::uint32_t pair) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, Half>)
    asm("max.NaN.f16x2 %0, %0, %1;\n\tmin.NaN.f16x2 %0, %0, %2;"
        : "+r"(pair)
        : "r"(bounds.low), "r"(bounds.high));
  else
    asm("max.NaN.bf16x2 %0, %0, %1;\n\tmin.NaN.bf16x2 %0, %0, %2;"
        : "+r"(pair)
        : "r"(bounds.low), "r"(bounds.high));
  return pair;
#else
  float values[2];
  for (int i = 0; i < 2; ++i) {
    const auto value = [i](std::uint32_t word) {
      return to_float(T{static_cast<std::uint16_t>(word >> 16 * i)});
    };
    const float x = value(pair);
    values[i] = std::isnan(x) ? x : std::min(std::max(x, value(bounds.low)), value(bounds.high));
  }
  return pack_pair<T>(values[0], values[1]);
#endif
}

// clamp() of a pair with an activation that has a lower bound, which the conversion takes. high:
// its upper bound in both halves. NaN stays.
template <class T>
__device__ __forceinline__ std::uint32_t pack_positive(float left, float right,
                                                       std::uint32_t high) {
#if defined(__CUDACC__)
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, Half>)
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;\n\tmin.NaN.f16x2 %0, %0, %3;"
        : "=&r"(pair)
        : "f"(right), "f"(left), "r"(high));
  else
    asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;\n\tmin.NaN.bf16x2 %0, %0, %3;"
        : "=&r"(pair)
        : "f"(right), "f"(left), "r"(high));
  return pair;
#else
  return clamp_pair<T>({0, high}, pack_pair<T>(left, right));
#endif
}

template <class T, int N>
__device__ __forceinline__ Packed<T, N> pack(const float (&v)[N]) {
  if constexpr (std::is_same_v<T, float>) {
    union {
      float values[N];
      Packed<T, N> packed;
    } u;
#pragma unroll
    for (int i = 0; i < N; ++i) u.values[i] = v[i];
    return u.packed;
  } else {
    union {
      std::uint32_t pairs[N / 2];
      Packed<T, N> packed;
    } u;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) u.pairs[i] = pack_pair<T>(v[2 * i], v[2 * i + 1]);
    return u.packed;
  }
}

// clamp() of all values, each pair at once where they have 16 bits.
template <class T, int N>
__device__ __forceinline__ void clamp_packed(Activation activation, Packed<T, N>& v) {
  if constexpr (std::is_same_v<T, float>) {
    float values[N];
    unpack(v, values);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = clamp(activation, values[i]);
    v = pack<T>(values);
  } else {
    const PairBounds bounds = pair_bounds<T>(activation);
    union {
      Packed<T, N> packed;
      std::uint32_t pairs[N / 2];
    } u = {v};
#pragma unroll
    for (int i = 0; i < N / 2; ++i) u.pairs[i] = clamp_pair<T>(bounds, u.pairs[i]);
    v = u.packed;
  }
}

// Hides from the compiler that the value stays the same. It then unpacks the value at each use and
// does not keep its floats in twice the registers throughout a loop.
__device__ __forceinline__ void stay_packed([[maybe_unused]] std::uint32_t& pair) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(pair));
#endif
}
template <class T, int N>
__device__ __forceinline__ void stay_packed([[maybe_unused]] Packed<T, N>& v) {
#if defined(__CUDACC__)
#pragma unroll
  for (auto& word : v.words) {
    asm volatile("" : "+r"(word.x), "+r"(word.y));
    if constexpr (sizeof(word) == sizeof(uint4)) asm volatile("" : "+r"(word.z), "+r"(word.w));
  }
#endif
}

}  // namespace dfengine::cuda
