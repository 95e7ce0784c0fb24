// Curves over all thresholds, and the figures read off them, by scikit-learn's definitions.
#pragma once

#include <span>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// What a threshold calls fake: the numbers of scores at or above `score`.
struct RankStep {
  double score = 0;
  Index fp = 0;  // reals
  Index tp = 0;  // fakes
};

// Gives one step for each distinct score, from the greatest to the least, as scikit-learn's
// confusion_matrix_at_thresholds; the counts of the last one are the totals. scores [n], label [n],
// 1 for fake and 0 for real. Throws ShapeError when the sizes differ or n is 0, DataError for a NaN
// or another label.
std::vector<RankStep> rank_scores(std::span<const double> scores, std::span<const int> label);

// The figures below take the steps of rank_scores. Where a class is missing they are NaN, as
// scikit-learn answers, except where said otherwise.

// The area under the ROC curve. It equals the chance that a fake scores above a real one, where
// ties count half (Mann-Whitney U).
double roc_auc(std::span<const RankStep> steps);
double roc_auc(std::span<const double> scores, std::span<const int> label);

// The area under the precision-recall curve as a sum of steps, without interpolation
// (average_precision_score). It is 0 without fakes and 1 without reals.
double average_precision(std::span<const RankStep> steps);

// The error rate where as many reals are called fake as fakes are called real, on the straight
// lines between the ROC points: that polyline crosses fpr = 1 - tpr exactly once.
double equal_error_rate(std::span<const RankStep> steps);

// The greatest share of fakes that a threshold finds while it calls at most `fpr` of the reals
// fake. Only thresholds that can be used count, so ROC points are not interpolated.
double tpr_at_fpr(std::span<const RankStep> steps, double fpr);

// The points from (0, 0), where the threshold is infinite, to (1, 1). Points on a straight line
// between their neighbours are left out, as scikit-learn does by default (drop_intermediate=True).
// A missing class makes its rate NaN at every point.
struct RocCurve {
  std::vector<double> fpr, tpr, threshold;
};
RocCurve roc_curve(std::span<const RankStep> steps);

// The points of every distinct score, with rising thresholds (drop_intermediate=False,
// scikit-learn's default). The last point, precision 1 and recall 0, has no threshold. Without
// fakes recall is 1 and precision 0 at every other point.
struct PrecisionRecallCurve {
  std::vector<double> precision, recall;
  std::vector<double> threshold;  // one fewer than points
};
PrecisionRecallCurve precision_recall_curve(std::span<const RankStep> steps);

}  // namespace dfengine
