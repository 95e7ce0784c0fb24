// Vectors of floats for the files of this folder, which are compiled once per instruction set.
//
// Rules of this folder, checked by tests/kernels/isa_symbols_test.cpp: everything lives in
// namespace dfengine::cpu::DF_ISA and no inline function of another namespace may be emitted here
// (the linker would keep one copy for the whole program, possibly one that an older machine cannot
// run). That is why there are raw pointers and loops here, and no containers and algorithms of the
// standard library.
#pragma once

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

template <class V>
DF_INLINE V vmin(V a, V b) {
  return a < b ? a : b;
}

template <class V>
DF_INLINE V vmax(V a, V b) {
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
