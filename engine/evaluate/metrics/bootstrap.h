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
inline constexpr double kNormalQuantile = 1.959963984540054;  // 97.5 % of a standard normal

// The 2.5 and 97.5 percentiles, linear between neighbours; NaN where one of the values is. Sorts
// them.
Interval percentile_interval(std::vector<double>& values);

// The 95 % interval of a share of n independent pictures (Wilson 1927), which Brown, Cai and
// DasGupta (2001) recommend down to small n; unlike a bootstrap's it has a width at shares of 0 and
// 1. NaN where n is 0.
Interval wilson_interval(double share, Index n);

// Gives 95 % intervals of metric_fields(), in this order. Of plain shares (accuracy, precision,
// recall, specificity) they are wilson_interval's. Of the others they are the 2.5 and 97.5
// percentiles (linear between neighbours) over resamples of the pictures, drawn with replacement
// within each class, so that the share of fakes stays what it is (Efron & Tibshirani 1993).
// Resampling adds noise to the bins of the calibration error, so that its interval lies high. An
// interval is NaN where its metric is, where the figure counts no picture, and where all resamples
// give the same, as of an AUC of 1 or of scores that do not vary: that says nothing of more
// pictures. The same seed gives the same bits. Throws as compute_metrics does, and UsageError for
// fewer than 1 resample.
std::vector<Interval> metric_intervals(const Scores& scores, std::span<const int> label,
                                       double threshold, std::uint64_t seed,
                                       Index resamples = kBootstrapSamples);

}  // namespace dfengine
