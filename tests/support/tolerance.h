// The one place where tests take tolerances from: those of one rounded sum
// (kernels/base/tolerance.h) and those below. A literal tolerance in a test is a review fault.
#pragma once

#include "kernels/base/tolerance.h"

namespace dfengine::test {

using dfengine::tolerance;
using dfengine::underflow;
using dfengine::unit_roundoff;

// Relative tolerance of a central difference in double with step h on a function whose third
// derivative and value are of order 1: truncation h^2 plus cancellation u/h.
inline double gradcheck_tolerance(double h, double safety = 16.0) {
  return safety * (h * h + unit_roundoff<double>() / h);
}

// Absolute tolerance for a mean of n independent draws of the given variance: five standard errors
// (one chance in a million for a right sampler; the draws are seeded, so the outcome is fixed).
inline double sampling_tolerance(double n, double variance, double deviations = 5.0) {
  return deviations * std::sqrt(variance / n);
}

// Absolute tolerance for a network's output of the given magnitude: each of its layers adds the
// error of one sum of `terms` terms, and batch norms keep what passes between layers at
// magnitude 1.
template <class T>
double network_tolerance(double layers, double terms, double magnitude) {
  return layers * tolerance<T>(terms, magnitude < 1 ? 1 : magnitude, 1.0);
}

// How far the count of a chance p in `trials` draws may lie from its mean: `sigmas` standard
// deviations of the binomial distribution.
inline double count_tolerance(double trials, double p, double sigmas = 5.0) {
  return sigmas * std::sqrt(trials * p * (1 - p));
}

// How far a function of slope at most `slope` moves when its argument was written with so many
// decimals: half a unit of the last place, and the rounding of the result itself.
inline double decimal_tolerance(int decimals, double slope) {
  return slope * (0.5 * std::pow(10.0, -decimals) + unit_roundoff<double>());
}

// How far a point with a gradient of this norm lies from the minimum of an objective whose second
// derivative is at least `curvature` in every direction nearby. The factor 2 is for the curvature,
// which was taken at another point.
inline double minimum_tolerance(double gradient, double curvature) {
  return 2 * gradient / curvature;
}

}  // namespace dfengine::test
