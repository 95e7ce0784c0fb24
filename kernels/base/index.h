// The type of sizes and positions, and the little arithmetic that all rooms need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dfengine {

// It is signed, so that differences are safe.
using Index = std::int64_t;

// A position as the standard containers count it.
constexpr std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

// The quotient, rounded up: how many parts of this size n takes.
constexpr Index divide_up(Index n, Index size) {
  return (n + size - 1) / size;
}

// The least multiple of `multiple` that is not smaller than n.
constexpr Index round_up(Index n, Index multiple) {
  return divide_up(n, multiple) * multiple;
}

// Where slice i begins of n things that are cut into so many; the first ones are longer by one
// where n does not divide.
constexpr Index slice_begin(Index n, Index slices, Index i) {
  return i * (n / slices) + (i < n % slices ? i : n % slices);
}

// Neighbours among many things: a slice of them, or what is left of it.
struct Slice {
  Index first = 0;  // its place among all
  Index n = 0;
  constexpr bool operator==(const Slice&) const = default;
};

inline constexpr Index kFloatBytes = sizeof(float);

}  // namespace dfengine
