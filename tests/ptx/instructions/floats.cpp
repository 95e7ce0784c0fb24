// PTX ISA, "Floating Point Instructions". What is .approx there is exact to the last bit or two
// here.
#include <cmath>
#include <limits>

#include "tests/ptx/instructions/lane_wise.h"

namespace dfengine::ptx {
namespace {

// The sum's float nearest to it on the side of zero. A double holds the sum of two floats of like
// size.
float sum_towards_zero(float a, float b) {
  const double exact = static_cast<double>(a) + b;
  const auto near = static_cast<float>(exact);
  return std::abs(static_cast<double>(near)) > std::abs(exact) ? std::nextafter(near, 0.0f) : near;
}

float fused_downwards(float a, float b, float c) {
  const double exact = static_cast<double>(a) * b + c;
  const auto near = static_cast<float>(exact);
  return static_cast<double>(near) > exact
             ? std::nextafter(near, -std::numeric_limits<float>::infinity())
             : near;
}

// min and max without .NaN give the operand that is a number; with .NaN a NaN wins.
template <class T, bool Greater, bool KeepsNaN>
T extreme(T a, T b) {
  if (std::isnan(a)) return KeepsNaN ? a : b;
  if (std::isnan(b)) return KeepsNaN ? b : a;
  return Greater ? std::max(a, b) : std::min(a, b);
}

template <class T>
void add_arithmetic(LaneWiseTable& table, const std::string& type) {
  for (const std::string& rounding : {std::string("."), std::string(".rn.")}) {
    table["add" + rounding + type] = lane_wise<[](T a, T b) -> T { return a + b; }>();
    table["sub" + rounding + type] = lane_wise<[](T a, T b) -> T { return a - b; }>();
    table["mul" + rounding + type] = lane_wise<[](T a, T b) -> T { return a * b; }>();
  }
  table["div.rn." + type] = lane_wise<[](T a, T b) -> T { return a / b; }>();
  table["fma.rn." + type] = lane_wise<[](T a, T b, T c) -> T { return std::fma(a, b, c); }>();
  table["sqrt.rn." + type] = lane_wise<[](T a) -> T { return std::sqrt(a); }>();
  table["rcp.rn." + type] = lane_wise<[](T a) -> T { return T{1} / a; }>();
  table["neg." + type] = lane_wise<[](T a) -> T { return -a; }>();
  table["abs." + type] = lane_wise<[](T a) -> T { return std::abs(a); }>();
  table["min." + type] = lane_wise<[](T a, T b) -> T { return extreme<T, false, false>(a, b); }>();
  table["max." + type] = lane_wise<[](T a, T b) -> T { return extreme<T, true, false>(a, b); }>();
}

}  // namespace

void add_floats(LaneWiseTable& table) {
  add_arithmetic<float>(table, "f32");
  add_arithmetic<double>(table, "f64");
  table["min.NaN.f32"] =
      lane_wise<[](float a, float b) -> float { return extreme<float, false, true>(a, b); }>();
  table["max.NaN.f32"] =
      lane_wise<[](float a, float b) -> float { return extreme<float, true, true>(a, b); }>();
  table["add.rz.f32"] =
      lane_wise<[](float a, float b) -> float { return sum_towards_zero(a, b); }>();
  table["fma.rm.f32"] =
      lane_wise<[](float a, float b, float c) -> float { return fused_downwards(a, b, c); }>();
  table["rcp.approx.ftz.f64"] = lane_wise<[](double a) -> double { return 1 / a; }>();
  for (const std::string& flush : {std::string("."), std::string(".ftz.")}) {
    table["rcp.approx" + flush + "f32"] = lane_wise<[](float a) -> float { return 1 / a; }>();
    table["ex2.approx" + flush + "f32"] =
        lane_wise<[](float a) -> float { return std::exp2(a); }>();
    table["lg2.approx" + flush + "f32"] =
        lane_wise<[](float a) -> float { return std::log2(a); }>();
    table["rsqrt.approx" + flush + "f32"] =
        lane_wise<[](float a) -> float { return 1 / std::sqrt(a); }>();
  }
}

}  // namespace dfengine::ptx
