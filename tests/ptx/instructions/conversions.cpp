// PTX ISA, "Data Movement and Conversion Instructions": cvt.
#include <cmath>
#include <limits>

#include "tests/ptx/instructions/halves.h"
#include "tests/ptx/instructions/lane_wise.h"

namespace dfengine::ptx {
namespace {

// Out of range gives the nearest number in range, NaN zero.
template <class To, class From>
To to_integer(From value) {
  if (std::isnan(value)) return 0;
  const auto least = static_cast<From>(std::numeric_limits<To>::min());
  // The largest number may round up to the first one out of range.
  const auto beyond = std::ldexp(From{1}, std::numeric_limits<To>::digits);
  if (value < least) return std::numeric_limits<To>::min();
  return value >= beyond ? std::numeric_limits<To>::max() : static_cast<To>(value);
}

template <class To, class From>
void add_to_integer(LaneWiseTable& table, const std::string& to, const std::string& from) {
  const std::string types = "." + to + "." + from;
  table["cvt.rzi" + types] =
      lane_wise<[](From a) -> To { return to_integer<To>(std::trunc(a)); }>();
  table["cvt.rni" + types] =
      lane_wise<[](From a) -> To { return to_integer<To>(std::nearbyint(a)); }>();
  table["cvt.rmi" + types] =
      lane_wise<[](From a) -> To { return to_integer<To>(std::floor(a)); }>();
  table["cvt.rpi" + types] = lane_wise<[](From a) -> To { return to_integer<To>(std::ceil(a)); }>();
}

// From one integer type to another, and between it and floats.
template <class From>
void add_from(LaneWiseTable& table, const std::string& from) {
  table["cvt.u8." + from] =
      lane_wise<[](From a) -> std::uint8_t { return static_cast<std::uint8_t>(a); }>();
  table["cvt.s8." + from] =
      lane_wise<[](From a) -> std::int8_t { return static_cast<std::int8_t>(a); }>();
  table["cvt.u16." + from] =
      lane_wise<[](From a) -> std::uint16_t { return static_cast<std::uint16_t>(a); }>();
  table["cvt.s16." + from] =
      lane_wise<[](From a) -> std::int16_t { return static_cast<std::int16_t>(a); }>();
  table["cvt.u32." + from] =
      lane_wise<[](From a) -> std::uint32_t { return static_cast<std::uint32_t>(a); }>();
  table["cvt.s32." + from] =
      lane_wise<[](From a) -> std::int32_t { return static_cast<std::int32_t>(a); }>();
  table["cvt.u64." + from] =
      lane_wise<[](From a) -> std::uint64_t { return static_cast<std::uint64_t>(a); }>();
  table["cvt.s64." + from] =
      lane_wise<[](From a) -> std::int64_t { return static_cast<std::int64_t>(a); }>();
  table["cvt.rn.f32." + from] = lane_wise<[](From a) -> float { return static_cast<float>(a); }>();
  table["cvt.rn.f64." + from] =
      lane_wise<[](From a) -> double { return static_cast<double>(a); }>();
}

template <class T>
void add_rounding(LaneWiseTable& table, const std::string& type) {
  const std::string types = "." + type + "." + type;
  table["cvt.rzi" + types] = lane_wise<[](T a) -> T { return std::trunc(a); }>();
  table["cvt.rni" + types] = lane_wise<[](T a) -> T { return std::nearbyint(a); }>();
  table["cvt.rmi" + types] = lane_wise<[](T a) -> T { return std::floor(a); }>();
  table["cvt.rpi" + types] = lane_wise<[](T a) -> T { return std::ceil(a); }>();
  add_to_integer<std::int32_t, T>(table, "s32", type);
  add_to_integer<std::uint32_t, T>(table, "u32", type);
  add_to_integer<std::int64_t, T>(table, "s64", type);
  add_to_integer<std::uint64_t, T>(table, "u64", type);
}

std::uint32_t pair(std::uint16_t high, std::uint16_t low) {
  return std::uint32_t{high} << 16 | low;
}

// Of both halves; NaN if one of the two is. +0 is larger than -0.
template <auto from, auto to, bool kLargest>
std::uint32_t extreme_pair(std::uint32_t a, std::uint32_t b) {
  const auto one = [&](int shift) -> std::uint16_t {
    const float x = from(static_cast<std::uint16_t>(a >> shift));
    const float y = from(static_cast<std::uint16_t>(b >> shift));
    if (std::isnan(x) || std::isnan(y)) return 0x7FFF;
    const bool x_below = x < y || (x == y && std::signbit(x));
    return to(x_below == kLargest ? y : x);
  };
  return pair(one(16), one(0));
}

template <auto from, auto to>
void add_extremes(LaneWiseTable& table, const std::string& type) {
  using Word = std::uint32_t;
  table["max.NaN." + type] =
      lane_wise<[](Word a, Word b) -> Word { return extreme_pair<from, to, true>(a, b); }>();
  table["min.NaN." + type] =
      lane_wise<[](Word a, Word b) -> Word { return extreme_pair<from, to, false>(a, b); }>();
}

// ".relu": zero in place of what is negative; NaN stays.
float positive(float a) {
  return a <= 0.0f ? 0.0f : a;
}

void add_halves(LaneWiseTable& table) {
  using Bits = std::uint16_t;
  table["cvt.f32.f16"] = lane_wise<[](Bits a) -> float { return from_half(a); }>();
  table["cvt.f32.bf16"] = lane_wise<[](Bits a) -> float { return from_bfloat(a); }>();
  table["cvt.rn.f16.f32"] = lane_wise<[](float a) -> Bits { return to_half(a); }>();
  table["cvt.rn.bf16.f32"] = lane_wise<[](float a) -> Bits { return to_bfloat(a); }>();
  // The first operand goes to the upper half.
  table["cvt.rn.f16x2.f32"] =
      lane_wise<[](float a, float b) -> std::uint32_t { return pair(to_half(a), to_half(b)); }>();
  table["cvt.rn.bf16x2.f32"] = lane_wise<[](float a, float b) -> std::uint32_t {
    return pair(to_bfloat(a), to_bfloat(b));
  }>();
  table["cvt.rn.relu.f16x2.f32"] = lane_wise<[](float a, float b) -> std::uint32_t {
    return pair(to_half(positive(a)), to_half(positive(b)));
  }>();
  table["cvt.rn.relu.bf16x2.f32"] = lane_wise<[](float a, float b) -> std::uint32_t {
    return pair(to_bfloat(positive(a)), to_bfloat(positive(b)));
  }>();
  add_extremes<[](std::uint16_t a) { return from_half(a); }, [](float a) { return to_half(a); }>(
      table, "f16x2");
  add_extremes<[](std::uint16_t a) { return from_bfloat(a); },
               [](float a) { return to_bfloat(a); }>(table, "bf16x2");
}

}  // namespace

void add_conversions(LaneWiseTable& table) {
  add_from<std::uint8_t>(table, "u8");
  add_from<std::int8_t>(table, "s8");
  add_from<std::uint16_t>(table, "u16");
  add_from<std::int16_t>(table, "s16");
  add_from<std::uint32_t>(table, "u32");
  add_from<std::int32_t>(table, "s32");
  add_from<std::uint64_t>(table, "u64");
  add_from<std::int64_t>(table, "s64");
  add_rounding<float>(table, "f32");
  add_rounding<double>(table, "f64");
  add_halves(table);
  table["cvt.f64.f32"] = lane_wise<[](float a) -> double { return a; }>();
  table["cvt.rn.f32.f64"] = lane_wise<[](double a) -> float { return static_cast<float>(a); }>();
  table["cvt.sat.f32.f32"] = lane_wise<[](float a) -> float {
    return std::isnan(a) ? 0.0f : std::clamp(a, 0.0f, 1.0f);
  }>();
}

const LaneWise* find_lane_wise(const std::string& name) {
  static const LaneWiseTable table = [] {
    LaneWiseTable made;
    add_integers(made);
    add_floats(made);
    add_comparisons(made);
    add_conversions(made);
    return made;
  }();
  const auto found = table.find(name);
  return found != table.end() ? &found->second : nullptr;
}

}  // namespace dfengine::ptx
