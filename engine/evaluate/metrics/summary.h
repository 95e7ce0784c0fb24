// What an evaluation tells: every metric with its interval, per class, at a threshold; as numbers,
// as JSON and as text for people.
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

// prob, label [n]; throws as bootstrap_intervals does.
Summary summarize(std::span<const double> prob, std::span<const int> label, double threshold,
                  std::uint64_t seed, Index resamples = kBootstrapSamples);

// {"n", "threshold", "confusion": {"tn", "fp", "fn", "tp"}, "confusion_normalized": the same over
// the pictures of the true class, one key per metric_fields(), "intervals": {key: [low, high]},
// "per_class": {class, "macro", "weighted": {"precision", "recall", "f1", "support"}}}. What is not
// a number is null. classes by label.
nlohmann::json to_json(const Summary& summary, const std::array<std::string, 2>& classes);

// The figures as a table: `at` at its threshold, `half` (may be the same) at 0.5, then what needs
// no threshold, the classes and the confusion matrix at `at`'s threshold. Ends with a line break.
std::string to_text(const Summary& at, const Summary& half,
                    const std::array<std::string, 2>& classes);

// "0.8875 [0.8417, 0.9292]"
std::string with_interval(double value, const Interval& interval);

}  // namespace dfengine
