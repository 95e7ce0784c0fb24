// A split's scores as charts and tables.
#pragma once

#include "engine/evaluate/metrics/bootstrap.h"
#include "engine/report/html.h"
#include "engine/report/training_charts.h"

namespace dfengine::report {

// ROC, precision and recall, reliability, histogram of scores, and confusion matrices (counts,
// shares of each class) at the threshold and, where that is another, at 0.5. prob, label [n] as
// compute_metrics takes them.
std::vector<NamedChart> evaluation_charts(std::span<const double> prob, std::span<const int> label,
                                          double threshold);

// Every metric with its interval, in the order of metric_fields(); intervals [metrics]. A column
// for 0.5 where the threshold is another.
Table metric_table(const Metrics& at_threshold, const Metrics& at_half,
                   std::span<const Interval> intervals);
// Precision, recall and F1 of each class.
Table class_table(const Confusion& confusion, const std::vector<std::string>& classes);

// "0.8875", or "n/a" for what is no number.
std::string figure(double value, int decimals);

}  // namespace dfengine::report
