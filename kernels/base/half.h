// 16-bit floating-point numbers as files and GPUs store them, and their conversion to float.
//
// F16 is IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits); BF16 is the upper half of a
// float. The conversion to float is exact, NaN payloads included. The conversion from float rounds
// to nearest, ties to even, and overflows to infinity. A NaN stays a NaN of the same sign with the
// payload bits that fit.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace dfengine {

// The types in which activations and working weights are stored. Arithmetic is done in float.
struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// Two neighbours in memory, the first in the lower half: CPUs multiply pairs.
struct BFloat16Pair {
  std::uint32_t bits;
};

// What sums over values of T are kept in.
template <class T>
using SumOf = std::conditional_t<sizeof(T) == 2, float, T>;

float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_f16(float value);
float bf16_to_float(std::uint16_t bits);
// Without a branch, so that loops over it become vectors.
inline std::uint16_t float_to_bf16(float value) {
  constexpr std::uint32_t kInfinity = 0x7f800000;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t upper = bits >> 16;
  const std::uint32_t rounded = (bits + 0x7fff + (upper & 1)) >> 16;
  const std::uint32_t nan = (upper & 0x7f) != 0 ? upper : upper | 0x40;
  return static_cast<std::uint16_t>((bits & 0x7fffffff) > kInfinity ? nan : rounded);
}

}  // namespace dfengine
