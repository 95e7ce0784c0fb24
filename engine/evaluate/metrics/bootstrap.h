// How far a figure may be from what more pictures of the same kind would give.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/evaluate/metrics/classification.h"

namespace dfengine {

struct Interval {
  double low = 0, high = 0;
};

inline constexpr Index kBootstrapSamples = 1000;

// The 2.5 and 97.5 percentiles, linear between neighbours; NaN where one of the values is. Sorts them.
Interval percentile_interval(std::vector<double>& values);

// Gives 95 % intervals of metric_fields(), in this order: the 2.5 and 97.5 percentiles (linear
// between neighbours) over resamples of the pictures. They are drawn with replacement within each
// class, so that the share of fakes stays what it is (Efron & Tibshirani 1993). Resampling adds
// noise to the bins of the calibration error, so that its interval lies high. An interval is NaN
// where its metric is. The same seed gives the same bits. Throws as compute_metrics does, and
// UsageError for fewer than 1 resample.
std::vector<Interval> bootstrap_intervals(std::span<const double> prob, std::span<const int> label,
                                          double threshold, std::uint64_t seed,
                                          Index resamples = kBootstrapSamples);

}  // namespace dfengine
