// How far rounding moves a result. What compares two computations of the same takes its bound from
// here: the tuner, the self-test and the tests.
//
// A result of n additions of terms whose absolute values sum to `magnitude`, accumulated with unit
// roundoff u, is off by at most about n*u*magnitude; for rounding errors of random sign the
// expected error grows with sqrt(n) (Higham & Mary 2019). We allow safety * (sqrt(n) * u_acc +
// u_out) * magnitude.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/base/half.h"

namespace dfengine {

// Unit roundoff of a storage or accumulation type.
template <class T>
constexpr double unit_roundoff() {
  return static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
}
template <>
constexpr double unit_roundoff<Half>() {
  return 1.0 / (1 << 11);
}
template <>
constexpr double unit_roundoff<BFloat16>() {
  return 1.0 / (1 << 8);
}

// Largest rounding error of a result below the normal range, where it does not shrink any more.
template <class T>
constexpr double underflow() {
  return double{std::numeric_limits<T>::denorm_min()} / 2;
}
template <>
constexpr double underflow<Half>() {
  return 1.0 / (1 << 25);
}
template <>
constexpr double underflow<BFloat16>() {
  return 0x1p-134;
}

inline constexpr double kRoundingSafety = 8;

// What accumulating in Acc may move a sum of so many terms.
template <class Acc>
double accumulation_error(double terms, double magnitude, double safety = kRoundingSafety) {
  return safety * std::sqrt(terms < 1 ? 1 : terms) * unit_roundoff<Acc>() * magnitude;
}

// Absolute tolerance for a value of type Out, accumulated in Acc over `terms` terms whose absolute
// values add up to `magnitude`.
template <class Out, class Acc = Out>
double tolerance(double terms, double magnitude, double safety = kRoundingSafety) {
  return accumulation_error<Acc>(terms, magnitude, safety) +
         safety * unit_roundoff<Out>() * magnitude + underflow<Out>();
}

}  // namespace dfengine
