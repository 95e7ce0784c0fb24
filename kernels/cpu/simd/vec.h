// Vectors of floats for the files of this folder, which are compiled once per instruction set.
//
// Rules of this folder, checked by tests/kernels/cpu/isa_symbols_test.cpp: everything lives in
// namespace dfengine::cpu::DF_ISA and no inline function of another namespace may be emitted here
// (the linker would keep one copy for the whole program, possibly one that an older machine cannot
// run). That is why there are raw pointers and loops here, and no containers and algorithms of the
// standard library.
#pragma once

#if DF_X86_ISAS
#include <immintrin.h>
#endif

#include "kernels/base/half.h"
#include "kernels/base/shape.h"

namespace dfengine::cpu::DF_ISA {

// Lanes of the widest vector.
#if DF_ISA_avx512
inline constexpr int kLanes = 16;
#elif DF_ISA_avx2
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

// N floats in one register. GCC and Clang give it arithmetic, comparison and ?: by element.
template <int N>
struct VecOf {
  typedef float type __attribute__((vector_size(4 * N)));
};
template <int N>
using Vec = typename VecOf<N>::type;

// What activations are stored in.
#if DF_ISA_avx512bf16
using Stored = BFloat16;
#else
using Stored = float;
#endif

#define DF_INLINE inline __attribute__((always_inline))

// Unaligned loads and stores.
template <int N>
DF_INLINE Vec<N> load(const float* p) {
  Vec<N> v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <int N>
DF_INLINE void store(float* p, Vec<N> v) {
  __builtin_memcpy(p, &v, sizeof(v));
}

// x in all lanes. As x - 0 is x for every x, this becomes one broadcast.
template <int N>
DF_INLINE Vec<N> broadcast(float x) {
  return x - Vec<N>{};
}

// A step of depth of N columns of a matrix product (pointwise_conv.h), and its share of the sums.
template <int N>
DF_INLINE Vec<N> load_units(const float* p) {
  return load<N>(p);
}
template <int N>
DF_INLINE void add_product(float left, Vec<N> right, Vec<N>& sums) {
  sums += broadcast<N>(left) * right;
}

#if DF_ISA_avx512bf16
// ---- bf16 in memory, float in registers; N is 16, 8, 4 or 1 ----

template <int N>
struct IntsOf {
  typedef std::uint16_t half __attribute__((vector_size(2 * N)));
  typedef std::uint32_t type __attribute__((vector_size(4 * N)));
};

template <int N>
DF_INLINE Vec<N> load(const BFloat16* p) {
  typename IntsOf<N>::half v;
  __builtin_memcpy(&v, p, sizeof(v));
  if constexpr (N == 16) {
    typedef std::uint16_t Words __attribute__((vector_size(64)));
    constexpr Words kUpper = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                              0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
    return (Vec<N>)_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, (__m512i)kUpper,
                                                  _mm512_castsi256_si512((__m256i)v));
  }
  return (Vec<N>)(__builtin_convertvector(v, typename IntsOf<N>::type) << 16);
}

// Rounds to nearest, ties to even; subnormal numbers become 0.
template <int N>
DF_INLINE void store(BFloat16* p, Vec<N> v) {
  if constexpr (N == 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
    __builtin_memcpy(p, &rounded, 2 * N);
  } else if constexpr (N == 8) {
    const __m128bh rounded = _mm256_cvtneps_pbh((__m256)v);
    __builtin_memcpy(p, &rounded, 2 * N);
  } else {
    float lanes[4] = {};
    __builtin_memcpy(lanes, &v, sizeof(v));
    const __m128bh rounded = _mm_cvtneps_pbh(_mm_loadu_ps(lanes));
    __builtin_memcpy(p, &rounded, 2 * N);
  }
}

template <int N>
DF_INLINE auto load_units(const BFloat16Pair* p) {
  typename IntsOf<N>::type v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
// Each sum gets the product of the second halves, then that of the first, rounded to float each
// time.
template <int N, class Right>
DF_INLINE void add_product(BFloat16Pair left, Right right, Vec<N>& sums) {
  if constexpr (N == 16) {
    const __m512i pair = _mm512_set1_epi32(static_cast<int>(left.bits));
    sums = (Vec<N>)_mm512_dpbf16_ps((__m512)sums, (__m512bh)pair, (__m512bh)right);
  } else if constexpr (N == 8) {
    const __m256i pair = _mm256_set1_epi32(static_cast<int>(left.bits));
    sums = (Vec<N>)_mm256_dpbf16_ps((__m256)sums, (__m256bh)pair, (__m256bh)right);
  } else {
    Vec<4> four = {};
    typename IntsOf<4>::type units = {};
    __builtin_memcpy(&four, &sums, sizeof(sums));
    __builtin_memcpy(&units, &right, sizeof(right));
    const __m128i pair = _mm_set1_epi32(static_cast<int>(left.bits));
    four = (Vec<4>)_mm_dpbf16_ps((__m128)four, (__m128bh)pair, (__m128bh)units);
    __builtin_memcpy(&sums, &four, sizeof(sums));
  }
}
#endif

// Neighbouring vectors. Two of bf16 are rounded and stored at once.
template <int N, int V, class T>
DF_INLINE void store_vectors(T* p, const Vec<N> (&v)[V]) {
#if DF_ISA_avx512bf16
  if constexpr (N == 16 && V == 2 && std::is_same_v<T, BFloat16>) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh((__m512)v[1], (__m512)v[0]);
    __builtin_memcpy(p, &rounded, sizeof(rounded));
    return;
  }
#endif
#pragma GCC unroll 2
  for (int i = 0; i < V; ++i) store<N>(p + i * N, v[i]);
}

template <class Unit, int N>
using Units = decltype(load_units<N>(static_cast<const Unit*>(nullptr)));

template <class V>
concept Floats = std::is_floating_point_v<std::remove_cvref_t<decltype(V()[0])>>;

// a < b ? a : b and a > b ? a : b, so b where one is NaN. That is one instruction of x86, of which
// gcc 12 makes a comparison and a choice.
template <Floats V>
DF_INLINE V vmin(V a, V b) {
#if DF_X86_ISAS
  if constexpr (sizeof(V) == 64) return (V)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
  if constexpr (sizeof(V) == 32) return (V)_mm256_min_ps((__m256)a, (__m256)b);
  if constexpr (sizeof(V) == 16) return (V)_mm_min_ps((__m128)a, (__m128)b);
#endif
  return a < b ? a : b;
}

template <Floats V>
DF_INLINE V vmax(V a, V b) {
#if DF_X86_ISAS
  if constexpr (sizeof(V) == 64) return (V)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
  if constexpr (sizeof(V) == 32) return (V)_mm256_max_ps((__m256)a, (__m256)b);
  if constexpr (sizeof(V) == 16) return (V)_mm_max_ps((__m128)a, (__m128)b);
#endif
  return a > b ? a : b;
}

// The activation as a compile-time choice, so that inner loops carry no branch. The order of the
// operands lets a NaN through, as PyTorch does, instead of hiding it as a zero.
template <Activation A, int N>
DF_INLINE Vec<N> activate(Vec<N> x) {
  if constexpr (A == Activation::None) return x;
  x = vmax(Vec<N>{}, x);
  if constexpr (A == Activation::Relu6) x = vmin(broadcast<N>(6.0f), x);
  return x;
}

// A value as a type, for generic lambdas, such as a vector's width: body(Lanes<16>{}, c).
template <auto Value>
struct Constant {
  static constexpr auto value = Value;
};
template <int N>
using Lanes = Constant<N>;

// Covers [0, count) with full vectors, then 8, 4 and single lanes: body(Lanes<n>, start).
template <class Body>
DF_INLINE void for_lanes(Index count, Body&& body) {
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) body(Lanes<kLanes>{}, i);
  if constexpr (kLanes > 8) {
    for (; i + 8 <= count; i += 8) body(Lanes<8>{}, i);
  }
  if constexpr (kLanes > 4) {
    for (; i + 4 <= count; i += 4) body(Lanes<4>{}, i);
  }
  for (; i < count; ++i) body(Lanes<1>{}, i);
}

}  // namespace dfengine::cpu::DF_ISA
