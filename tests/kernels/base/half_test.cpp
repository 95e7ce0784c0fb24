// F16 and BF16 over all 65536 bit patterns against the definition computed in double.
#include "kernels/base/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace dfengine {
namespace {

struct Format {
  const char* name;
  int fraction_bits, bias;
  float (*to_float)(std::uint16_t);
  std::uint16_t (*from_float)(float);

  std::uint32_t infinity() const { return 0x7FFFu >> fraction_bits << fraction_bits; }
};

const Format kF16{"F16", 10, 15, f16_to_float, float_to_f16};
const Format kBf16{"BF16", 7, 127, bf16_to_float, float_to_bf16};

// Value of a magnitude pattern (no sign, not NaN) from IEEE 754's definition. Infinity's pattern
// gives the power of two that would come next, which is what rounding to infinity measures from.
double formula(const Format& format, std::uint32_t magnitude) {
  const int exponent = static_cast<int>(magnitude >> format.fraction_bits);
  const std::uint32_t fraction = magnitude & ((1u << format.fraction_bits) - 1);
  const double scaled = std::ldexp(fraction, -format.fraction_bits);
  return exponent == 0 ? std::ldexp(scaled, 1 - format.bias)
                       : std::ldexp(1 + scaled, exponent - format.bias);
}

std::uint16_t with_sign(std::uint32_t magnitude, int sign) {
  return static_cast<std::uint16_t>(magnitude | static_cast<std::uint32_t>(sign) << 15);
}

class Half : public testing::TestWithParam<Format> {};

TEST_P(Half, ToFloatEqualsTheDefinition) {
  const Format& format = GetParam();
  for (int sign = 0; sign < 2; ++sign) {
    for (std::uint32_t magnitude = 0; magnitude < 0x8000; ++magnitude) {
      const float got = format.to_float(with_sign(magnitude, sign));
      ASSERT_EQ(std::signbit(got), sign == 1) << magnitude;
      if (magnitude < format.infinity()) {
        const double expected = formula(format, magnitude);
        ASSERT_EQ(static_cast<double>(got), sign ? -expected : expected) << magnitude;
      } else if (magnitude == format.infinity()) {
        ASSERT_TRUE(std::isinf(got));
      } else {
        ASSERT_TRUE(std::isnan(got));
        const std::uint32_t payload = magnitude - format.infinity();
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got) & 0x7FFFFFu,
                  payload << (23 - format.fraction_bits));
      }
    }
  }
}

TEST_P(Half, RoundTripKeepsEveryBit) {
  const Format& format = GetParam();
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(format.from_float(format.to_float(half)), half);
  }
}

// Between each pair of neighbours: the middle goes to the even one, a float beside the middle to
// the nearer one. The last pair is the largest finite value and infinity.
TEST_P(Half, FromFloatRoundsToNearestEven) {
  const Format& format = GetParam();
  for (int sign = 0; sign < 2; ++sign) {
    for (std::uint32_t low = 0; low < format.infinity(); ++low) {
      const double middle = (formula(format, low) + formula(format, low + 1)) / 2;
      const auto exact = static_cast<float>(middle);
      ASSERT_EQ(static_cast<double>(exact), middle);
      const float below = std::nextafter(exact, 0.0f);
      const float above = std::nextafter(exact, std::numeric_limits<float>::infinity());
      const float s = sign ? -1.0f : 1.0f;
      ASSERT_EQ(format.from_float(s * below), with_sign(low, sign)) << low;
      ASSERT_EQ(format.from_float(s * exact), with_sign(low + (low & 1u), sign)) << low;
      ASSERT_EQ(format.from_float(s * above), with_sign(low + 1, sign)) << low;
    }
  }
}

TEST_P(Half, FromFloatAtTheEnds) {
  const Format& format = GetParam();
  EXPECT_EQ(format.from_float(std::numeric_limits<float>::infinity()), format.infinity());
  EXPECT_EQ(format.from_float(std::numeric_limits<float>::max()), format.infinity());
  EXPECT_EQ(format.from_float(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(format.from_float(-std::numeric_limits<float>::denorm_min()), 0x8000);
  // A NaN whose payload sits in the bits that are cut must not become infinity.
  const float low_payload = std::bit_cast<float>(0xFF800001u);
  const std::uint32_t got = format.from_float(low_payload);
  EXPECT_GT(got & 0x7FFFu, format.infinity());
  EXPECT_EQ(got & 0x8000u, 0x8000u);
}

INSTANTIATE_TEST_SUITE_P(Formats, Half, testing::Values(kF16, kBf16),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace dfengine
