// Vectors of 8-bit integers and their sums in int32. Everything here is exact, or rounds as the
// contract (kernels/quantized_conv.h) says.
#pragma once

#if DF_X86_ISAS
#include <immintrin.h>
#endif

#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {

// N sums, or 4 N bytes. The element type is that of sums, since with the intrinsics' own gcc 12
// copies every sum of a tile in every step.
template <int N>
struct SumsOf {
  typedef std::int32_t type __attribute__((vector_size(4 * N)));
};
template <int N>
using Sums = typename SumsOf<N>::type;

template <int N>
DF_INLINE Sums<N> load_sums(const void* p) {
  Sums<N> v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

// The same four bytes in every sum.
template <int N>
DF_INLINE Sums<N> broadcast_bytes(const std::uint8_t* p) {
  std::int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return bits - Sums<N>{};
}

// For each width: add_products adds to each sum the products of its four bytes, the left unsigned,
// the right signed; round is to the nearest, ties to even; the others interleave and narrow within
// every 128 bits, saturated.
#if DF_ISA_avx512vnni
#define DF_ADD_PRODUCTS(mm, Raw) sums = (V)mm##_dpbusd_epi32((Raw)sums, (Raw)left, (Raw)right)
#else
#define DF_ADD_PRODUCTS(mm, Raw)                                                        \
  const Raw low = mm##_srli_epi16(mm##_slli_epi16((Raw)left, 8), 8);                    \
  sums += (V)mm##_madd_epi16(low, mm##_srai_epi16(mm##_slli_epi16((Raw)right, 8), 8)) + \
          (V)mm##_madd_epi16(mm##_srli_epi16((Raw)left, 8), mm##_srai_epi16((Raw)right, 8))
#endif
#define DF_QUANTIZED_VECTOR(N, mm, Raw, Floats)                                       \
  DF_INLINE void add_products(Sums<N>& sums, Sums<N> left, Sums<N> right) {           \
    using V = Sums<N>;                                                                \
    DF_ADD_PRODUCTS(mm, Raw);                                                         \
  }                                                                                   \
  DF_INLINE Sums<N> round(Vec<N> v) {                                                 \
    return (Sums<N>)mm##_cvtps_epi32((Floats)v);                                      \
  }                                                                                   \
  DF_INLINE Sums<N> low_bytes(Sums<N> a, Sums<N> b) {                                 \
    return (Sums<N>)mm##_unpacklo_epi8((Raw)a, (Raw)b);                               \
  }                                                                                   \
  DF_INLINE Sums<N> high_bytes(Sums<N> a, Sums<N> b) {                                \
    return (Sums<N>)mm##_unpackhi_epi8((Raw)a, (Raw)b);                               \
  }                                                                                   \
  DF_INLINE Sums<N> low_words(Sums<N> a, Sums<N> b) {                                 \
    return (Sums<N>)mm##_unpacklo_epi16((Raw)a, (Raw)b);                              \
  }                                                                                   \
  DF_INLINE Sums<N> high_words(Sums<N> a, Sums<N> b) {                                \
    return (Sums<N>)mm##_unpackhi_epi16((Raw)a, (Raw)b);                              \
  }                                                                                   \
  DF_INLINE Sums<N> words(Sums<N> a, Sums<N> b, std::int32_t zero) {                  \
    const Raw both = mm##_packs_epi32((Raw)a, (Raw)b);                                \
    return (Sums<N>)mm##_adds_epi16(both, mm##_set1_epi16(static_cast<short>(zero))); \
  }                                                                                   \
  DF_INLINE Sums<N> bytes(Sums<N> a, Sums<N> b) {                                     \
    return (Sums<N>)mm##_packus_epi16((Raw)a, (Raw)b);                                \
  }
#if DF_X86_ISAS
DF_QUANTIZED_VECTOR(4, _mm, __m128i, __m128)
#endif
#if DF_ISA_avx2 || DF_ISA_avx512
DF_QUANTIZED_VECTOR(8, _mm256, __m256i, __m256)
#endif
#if DF_ISA_avx512
DF_QUANTIZED_VECTOR(16, _mm512, __m512i, __m512)
#endif

#if !DF_X86_ISAS
// ---- Other machines ----
DF_INLINE void add_products(Sums<4>& sums, Sums<4> left, Sums<4> right) {
  std::uint8_t a[16];
  std::int8_t b[16];
  __builtin_memcpy(a, &left, 16);
  __builtin_memcpy(b, &right, 16);
  for (int i = 0; i < 16; ++i) sums[i / 4] += a[i] * b[i];
}
DF_INLINE Sums<4> round(Vec<4> v) {
  Sums<4> r;
  for (int i = 0; i < 4; ++i) r[i] = static_cast<std::int32_t>(__builtin_rintf(v[i]));
  return r;
}
template <class T, int From>
DF_INLINE Sums<4> interleave(Sums<4> a, Sums<4> b) {
  constexpr int kHalf = 8 / sizeof(T);
  T from[2][2 * kHalf], to[2 * kHalf];
  __builtin_memcpy(from[0], &a, 16);
  __builtin_memcpy(from[1], &b, 16);
  for (int i = 0; i < 2 * kHalf; ++i) to[i] = from[i % 2][From * kHalf + i / 2];
  return load_sums<4>(to);
}
DF_INLINE Sums<4> low_bytes(Sums<4> a, Sums<4> b) {
  return interleave<std::uint8_t, 0>(a, b);
}
DF_INLINE Sums<4> high_bytes(Sums<4> a, Sums<4> b) {
  return interleave<std::uint8_t, 1>(a, b);
}
DF_INLINE Sums<4> low_words(Sums<4> a, Sums<4> b) {
  return interleave<std::uint16_t, 0>(a, b);
}
DF_INLINE Sums<4> high_words(Sums<4> a, Sums<4> b) {
  return interleave<std::uint16_t, 1>(a, b);
}
DF_INLINE Sums<4> words(Sums<4> a, Sums<4> b, std::int32_t zero) {
  std::int16_t to[8];
  for (int i = 0; i < 8; ++i) {
    const std::int32_t v = (i < 4 ? a[i] : b[i - 4]);
    const std::int32_t word = (v > 32767 ? 32767 : v < -32768 ? -32768 : v) + zero;
    to[i] = static_cast<std::int16_t>(word > 32767 ? 32767 : word);
  }
  return load_sums<4>(to);
}
DF_INLINE Sums<4> bytes(Sums<4> a, Sums<4> b) {
  std::int16_t from[16];
  std::uint8_t to[16];
  __builtin_memcpy(from, &a, 16);
  __builtin_memcpy(from + 8, &b, 16);
  for (int i = 0; i < 16; ++i)
    to[i] = static_cast<std::uint8_t>(from[i] < 0 ? 0 : from[i] > 255 ? 255 : from[i]);
  return load_sums<4>(to);
}
#endif

// ---- Of any width ----

template <int N>
DF_INLINE Vec<N> floats(Sums<N> v) {
  return __builtin_convertvector(v, Vec<N>);
}

template <int N>
DF_INLINE Sums<N> scaled(Sums<N> sums, const float* scale) {
  return round(floats<N>(sums) * load<N>(scale));
}
// N bytes as sums.
template <int N>
DF_INLINE Sums<N> load_bytes(const std::uint8_t* p) {
#if DF_ISA_avx512
  if constexpr (N == 16) return (Sums<N>)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
#endif
#if DF_ISA_avx2 || DF_ISA_avx512
  if constexpr (N == 8) return (Sums<N>)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
#endif
  if constexpr (N == 4) {
    const Sums<4> quad = broadcast_bytes<4>(p);
    return low_words(low_bytes(quad, Sums<4>{}), Sums<4>{});
  }
}

template <int N>
DF_INLINE Sums<N> scaled(Sums<N> sums, const float* scale, const std::uint8_t* residual,
                         std::int32_t zero, float by) {
  const Vec<N> scaled = floats<N>(sums) * load<N>(scale);
  return round(scaled + floats<N>(load_bytes<N>(residual) - zero) * by);
}

// Adds zero and stores the sums as bytes.
template <int N>
DF_INLINE void store_bytes(std::uint8_t* p, Sums<N> v, std::int32_t zero) {
#if DF_ISA_avx512
  if constexpr (N == 16) {
    const Sums<N> moved = v + zero, positive = moved > 0 ? moved : Sums<N>{};
    _mm_storeu_si128((__m128i*)p, _mm512_cvtusepi32_epi8((__m512i)positive));
    return;
  }
#endif
  const Sums<N> two = words(v, v, zero), narrow = bytes(two, two);
  for (int i = 0; i < N; i += 4) {
    const std::int32_t quad = narrow[i];
    __builtin_memcpy(p + i, &quad, 4);
  }
}

}  // namespace dfengine::cpu::DF_ISA
