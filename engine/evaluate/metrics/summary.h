// What an evaluation reports: every metric with its interval, and the figures of each class, at a
// threshold. It comes as numbers, as JSON and as text for people.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/evaluate/metrics/bootstrap.h"

namespace dfengine {

struct Summary {
  Metrics metrics;
  std::vector<Interval> intervals;  // of metric_fields()
  ClassReport report;
};

// label [n]. Throws as metric_intervals does.
Summary summarize(const Scores& scores, std::span<const int> label, double threshold,
                  std::uint64_t seed, Index resamples = kBootstrapSamples);

// An object with these keys; what is not a number is written as null:
//   n, threshold
//   confusion              {"tn", "fp", "fn", "tp"}
//   confusion_normalized   the same, divided by the pictures of the true class
//   the key of each of metric_fields()
//   intervals              {key: [low, high]}, null where there is none
//   per_class              {"precision", "recall", "f1", "support"} of each class, of "macro" and
//                          of "weighted"
// `classes` are the names of labels 0 and 1.
nlohmann::json to_json(const Summary& summary, const std::array<std::string, 2>& classes);

// The figures as a table: `at` at its threshold and `half`, which may be the same, at 0.5; then
// what needs no threshold, the classes and the confusion matrix at the threshold of `at`. The text
// ends with a line break.
std::string to_text(const Summary& at, const Summary& half,
                    const std::array<std::string, 2>& classes);

// Text such as "0.8875 [0.8417, 0.9292]", or "1.0000 [no interval]" where that is NaN.
std::string with_interval(double value, const Interval& interval);

}  // namespace dfengine
