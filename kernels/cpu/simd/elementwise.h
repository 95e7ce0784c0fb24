// What the memory-bound kernels of this folder share: splitting long arrays into tasks, the
// activation as a compile-time choice, its gradient, and sums over rows.
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {

// The elements of a task: 64 KB, some microseconds of work. They are a multiple of every vector
// width and of 3.
inline constexpr Index kTaskElements = 3 * 16 * 340;

// Calls body(begin, length) for consecutive pieces of [0, count), in parallel.
template <class Body>
DF_INLINE void for_tasks(const Context& ctx, Index count, Body&& body) {
  parallel_for(ctx.pool, (count + kTaskElements - 1) / kTaskElements, [&](Index task, int) {
    const Index begin = task * kTaskElements;
    const Index rest = count - begin;
    body(begin, rest < kTaskElements ? rest : kTaskElements);
  });
}

// Calls body(Constant<act>{}).
template <class Body>
DF_INLINE void with_activation(Activation act, Body&& body) {
  switch (act) {
    case Activation::None:
      return body(Constant<Activation::None>{});
    case Activation::Relu:
      return body(Constant<Activation::Relu>{});
    case Activation::Relu6:
      return body(Constant<Activation::Relu6>{});
  }
}

// dy where z lies strictly inside the activation's bounds or is NaN, and 0 elsewhere. z may be the
// activation's input or its output.
template <Activation A, int N>
DF_INLINE Vec<N> activation_gradient(Vec<N> z, Vec<N> dy) {
  if constexpr (A == Activation::Relu) dy = z <= 0.0f ? Vec<N>{} : dy;
  if constexpr (A == Activation::Relu6) dy = ((z <= 0.0f) | (z >= 6.0f)) ? Vec<N>{} : dy;
  return dy;
}

// Calls body(Constant<4>{}, row) for groups of four rows of c elements, then single rows. A group
// shares the loads and stores of per-channel values between its rows. Long rows go one by one: a
// group would read from four places at once, which the prefetcher follows badly.
template <class Body>
DF_INLINE void for_row_groups(Index rows, Index c, Body&& body) {
  constexpr int kGroup = 4;
  constexpr Index kLongRow = 48;
  Index r = 0;
  for (; c <= kLongRow && r + kGroup <= rows; r += kGroup) body(Constant<kGroup>{}, r);
  for (; r < rows; ++r) body(Constant<1>{}, r);
}

// sum[c] += the column sums of x [rows, c].
DF_INLINE void add_rows(const Stored* x, Index rows, Index c, float* sum) {
  for_row_groups(rows, c, [&](auto group, Index row) {
    const Stored* p = x + row * c;
    for_lanes(c, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      Vec<n> part = load<n>(p + i);
      for (int r = 1; r < decltype(group)::value; ++r) part += load<n>(p + r * c + i);
      store<n>(sum + i, load<n>(sum + i) + part);
    });
  });
}

}  // namespace dfengine::cpu::DF_ISA
