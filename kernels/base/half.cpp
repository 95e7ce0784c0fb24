// Conversion of F16 and BF16 by integer arithmetic on the bit patterns.
#include "kernels/base/half.h"

#include <bit>

namespace dfengine {
namespace {

constexpr std::uint32_t kFloatInfinity = 0x7F800000u;
constexpr std::uint32_t kF16Infinity = 0x7C00u;

// bits / 2^shift, rounded to nearest, ties to even. shift is 1 to 31.
constexpr std::uint32_t shift_rounded(std::uint32_t bits, int shift) {
  const std::uint32_t kept = bits >> shift;
  const std::uint32_t half = 1u << (shift - 1);
  const std::uint32_t rest = bits & ((1u << shift) - 1);
  return kept + ((rest > half || (rest == half && (kept & 1u))) ? 1u : 0u);
}

}  // namespace

float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | kFloatInfinity | fraction << 13);
  if (exponent != 0) {
    return std::bit_cast<float>(sign | (exponent + 127 - 15) << 23 | fraction << 13);
  }
  if (fraction == 0) return std::bit_cast<float>(sign);
  // Subnormal, fraction * 2^-24: the leading one moves to the float's hidden bit, bit 10.
  const int shift = std::countl_zero(fraction) - 21;
  const std::uint32_t float_exponent = 113u - static_cast<std::uint32_t>(shift);
  return std::bit_cast<float>(sign | float_exponent << 23 | ((fraction << shift) & 0x3FFu) << 13);
}

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  std::uint32_t result = 0;
  if (magnitude > kFloatInfinity) {
    const std::uint32_t payload = (magnitude >> 13) & 0x3FFu;
    result = kF16Infinity | (payload != 0 ? payload : 0x200u);
  } else if (magnitude >= 0x477FF000u) {  // 65520: halfway from the largest F16 to 2^16
    result = kF16Infinity;
  } else if (magnitude >= 0x38800000u) {  // 2^-14: the smallest normal F16
    result = shift_rounded(magnitude - (112u << 23), 13);
  } else if (magnitude >= 0x33000000u) {  // 2^-25: half of the smallest F16
    const std::uint32_t fraction = (magnitude & 0x7FFFFFu) | 0x800000u;
    result = shift_rounded(fraction, 126 - static_cast<int>(magnitude >> 23));
  }
  return static_cast<std::uint16_t>(sign | result);
}

float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace dfengine
