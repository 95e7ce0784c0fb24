// Central differences in double against a layer's own gradients.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/layer_run.h"

namespace dfengine::test {

// Step of the differences.
inline constexpr double kStep = 1e-5;
// How far values stay from an activation's kinks: no step in one variable comes near them.
inline constexpr double kKinkDistance = 10 * kStep;

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline double magnitude(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] * b[i]);
  return sum;
}

// Compares `gradient` with central differences of `value` around `at`: every element of a small
// vector, else 8 elements and 4 random directions. `scale` is the size of the terms that `value`
// adds up.
inline void expect_gradient(Doubles& at, const Doubles& gradient,
                            const std::function<double()>& value, double scale,
                            const std::string& what) {
  constexpr std::size_t kSmall = 256, kElements = 8, kDirections = 4;
  ASSERT_EQ(at.size(), gradient.size()) << what;
  const double bound = gradcheck_tolerance(kStep) * std::max(1.0, scale);
  const auto along = [&](const Doubles& direction, const std::string& place) {
    const Doubles start = at;
    const auto moved = [&](double distance) {
      for (std::size_t i = 0; i < at.size(); ++i) at[i] = start[i] + distance * direction[i];
      return value();
    };
    const double numeric = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    at = start;
    EXPECT_NEAR(dot(gradient, direction), numeric, bound) << what << place;
  };
  const std::size_t stride = at.size() <= kSmall ? 1 : at.size() / kElements;
  for (std::size_t i = 0; i < at.size(); i += stride) {
    Doubles unit(at.size(), 0.0);
    unit[i] = 1;
    along(unit, " element " + std::to_string(i));
  }
  if (at.size() <= kSmall) return;
  for (std::size_t d = 0; d < kDirections; ++d) {
    Doubles direction = random_uniform<double>(static_cast<std::int64_t>(at.size()), 90 + d);
    const double length = std::sqrt(dot(direction, direction));
    for (double& v : direction) v /= length;
    along(direction, " direction " + std::to_string(d));
  }
}

// The smallest distance of any value from a kink of the activation.
inline double kink_distance(const Doubles& values, Activation activation) {
  double distance = std::numeric_limits<double>::infinity();
  if (activation == Activation::None) return distance;
  for (double v : values) {
    distance = std::min(distance, std::abs(v));
    if (activation == Activation::Relu6) distance = std::min(distance, std::abs(v - 6));
  }
  return distance;
}

}  // namespace dfengine::test
