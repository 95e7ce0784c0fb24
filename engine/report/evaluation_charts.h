// A split's scores as charts and tables.
#pragma once

#include "engine/evaluate/metrics/bootstrap.h"
#include "engine/report/html.h"
#include "engine/report/training_charts.h"

namespace dfengine::report {

// ROC, precision and recall, reliability, a histogram of scores, and confusion matrices (counts,
// and shares of each class) at the threshold and, where this is another, at 0.5. Scores and label
// [n] are as compute_metrics takes them.
std::vector<NamedChart> evaluation_charts(const Scores& scores, std::span<const int> label,
                                          double threshold);

// Every metric with its interval, in the order of metric_fields(); intervals [metrics]. There is a
// column for 0.5 where the threshold is another.
Table metric_table(const Metrics& at_threshold, const Metrics& at_half,
                   std::span<const Interval> intervals);
// The precision, recall and F1 of each class.
Table class_table(const Confusion& confusion, const std::vector<std::string>& classes);

// Text such as "0.8875", or "n/a" for what is no number.
std::string figure(double value, int decimals);
// Text such as "0.842 to 0.929", or "none" for what is NaN.
std::string interval_text(const Interval& interval);

}  // namespace dfengine::report
