// Whether one detector is better than another on the same pictures.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/evaluate/metrics/bootstrap.h"

namespace dfengine {

// What one detector says of the pictures, and the threshold it calls fake from.
struct PairedScores {
  Scores scores;
  double threshold = 0.5;
};

struct PairedComparison {
  Index n = 0;
  double auc[2] = {};  // of the first and the second
  double accuracy[2] = {};
  // Of the second AUC minus the first, by DeLong, DeLong and Clarke-Pearson (1988), which knows
  // that both saw the same pictures. p is two-sided, for equal AUCs. Where the AUCs differ and the
  // standard error is 0, the pictures leave nothing to test by: z, p and the interval are NaN.
  double standard_error = 0, z = 0, p = 1;
  Interval auc_difference;  // 95 %, from the standard error
  // The same differences over resamples of the pictures, drawn within each class: 2.5 and 97.5
  // percentiles. That of the AUCs is NaN where DeLong's is.
  Interval auc_resampled, accuracy_resampled;
};

// label [n]. Throws as compute_metrics does, ShapeError where the sizes differ, DataError unless
// each class has two pictures at least.
PairedComparison compare_paired(const PairedScores& first, const PairedScores& second,
                                std::span<const int> label, std::uint64_t seed,
                                Index resamples = kBootstrapSamples);

// What is not a number is written as null.
nlohmann::json to_json(const PairedComparison& comparison);
// Lines for people.
std::string to_text(const PairedComparison& comparison);

}  // namespace dfengine
