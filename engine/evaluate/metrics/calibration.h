// Whether probabilities mean what they say: reliability, Brier score, temperature.
#pragma once

#include <array>
#include <span>

#include "kernels/base/shape.h"

namespace dfengine {

// Equal widths over the probability of fake; the edges are k / kReliabilityBins. A probability on
// an inner edge belongs to the bin below it (scikit-learn's calibration_curve). As many as Guo et
// al. 2017 used.
inline constexpr std::size_t kReliabilityBins = 15;

struct ReliabilityBin {
  Index n = 0;
  double mean_prob = 0;   // 0 when n is 0
  double share_fake = 0;  // 0 when n is 0
};
using Reliability = std::array<ReliabilityBin, kReliabilityBins>;

// The bin of a probability in [0, 1].
std::size_t reliability_bin(double prob);

// prob [n] in [0, 1], label [n] 0 or 1. Throws as rank_scores does, and DataError for a probability
// outside [0, 1].
Reliability reliability(std::span<const double> prob, std::span<const int> label);

// Expected calibration error: the mean of |share_fake - mean_prob| over the pictures, bin by bin.
double expected_calibration_error(const Reliability& bins);

// The temperature T > 0 that makes sigmoid(logit / T) most likely (Guo et al. 2017): the least mean
// negative log-likelihood, which is convex in 1 / T, by Newton's method kept inside a bracket.
// 1 where that T is outside [1/100, 100] (logit 0 parts the classes, or the logits tell nothing) or
// a class is missing: there is nothing to fit. logits, label [n]; throws as rank_scores does, and
// DataError for an infinite logit.
double fit_temperature(std::span<const double> logits, std::span<const int> label);

}  // namespace dfengine
