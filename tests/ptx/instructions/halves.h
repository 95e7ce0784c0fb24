// The two 16-bit formats, by the compiler's own arithmetic or plain bits: not by the code under
// test.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace dfengine::ptx {

// PTX ISA, "cvt": a NaN becomes the canonical one.
constexpr std::uint16_t kHalfNaN = 0x7FFF;

inline float from_half(std::uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}

inline std::uint16_t to_half(float value) {
  return std::isnan(value) ? kHalfNaN : std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}

inline float from_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// To nearest, ties to even: a carry out of the lower half rounds up.
inline std::uint16_t to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::isnan(value) ? kHalfNaN
                           : static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace dfengine::ptx
