// Whether probabilities mean what they say: reliability, calibration error and temperature.
#pragma once

#include <array>
#include <span>

#include "kernels/base/shape.h"

namespace dfengine {

// The bins have equal widths over the probability of fake, with edges at k / kReliabilityBins. A
// probability on an inner edge belongs to the bin below it, as in scikit-learn's calibration_curve.
// There are as many as Guo et al. 2017 used.
inline constexpr std::size_t kReliabilityBins = 15;

struct ReliabilityBin {
  Index n = 0;
  double mean_prob = 0;   // 0 when n is 0
  double share_fake = 0;  // 0 when n is 0
};
using Reliability = std::array<ReliabilityBin, kReliabilityBins>;

// The bin of a probability in [0, 1].
std::size_t reliability_bin(double prob);

// The expected calibration error: the mean over the pictures of |share_fake - mean_prob| of their
// bins.
double expected_calibration_error(const Reliability& bins);

// Gives the temperature T > 0 that makes sigmoid(logit / T) most likely (Guo et al. 2017). It has
// the least mean negative log-likelihood, which is convex in 1 / T, and is found by Newton's method
// kept inside a bracket. It is 1 where there is nothing to fit: where a class is missing, or T
// would be outside [1/100, 100] because logit 0 parts the classes or the logits tell nothing.
// logits [n], label [n]. Throws as rank_scores does, and DataError for an infinite logit.
double fit_temperature(std::span<const double> logits, std::span<const int> label);

}  // namespace dfengine
