// Logistic regression with a ridge penalty, by Newton's method.
#pragma once

#include <span>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// A dense table of numbers, row after row.
struct Matrix {
  Index rows = 0;
  Index cols = 0;
  std::vector<double> values;  // [rows, cols]

  std::span<const double> row(Index i) const {
    return std::span(values).subspan(static_cast<std::size_t>(i * cols),
                                     static_cast<std::size_t>(cols));
  }
};

// x, the given rows only, in the given order.
Matrix take_rows(const Matrix& x, std::span<const Index> rows);

struct LogisticRegression {
  std::vector<double> weights;  // [cols]
  double intercept = 0;

  // x [cols]: the logit of label 1.
  double logit(std::span<const double> x) const;
  // x [rows, cols] -> [rows].
  std::vector<double> logits(const Matrix& x) const;
};

// What a column's weight costs unless something else is asked for: scikit-learn's C = 1.
inline constexpr double kDefaultPenalty = 1.0;

// Minimises sum_i log(1 + exp(-s_i z_i)) + sum_j penalty_j w_j^2 / 2 with z = x w + intercept and
// s = +1 for label 1, -1 for label 0. The intercept costs nothing; penalty_j = 1 / C is
// scikit-learn's LogisticRegression(C). Newton's method with step halving, which for logistic
// regression is iteratively reweighted least squares (Hastie, Tibshirani and Friedman, "The
// Elements of Statistical Learning", 4.4.1).
// x [rows, cols], label [rows] 0 or 1, penalty [cols], each > 0, so that a minimum exists for
// separable classes and for constant columns. Throws ShapeError for sizes that do not fit,
// DataError when a class is missing, a value is not finite or there are more than kMaxFeatures
// columns, UsageError for a penalty that is not positive.
inline constexpr Index kMaxFeatures = 2000;
LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label,
                                std::span<const double> penalty);
// The same penalty for every column.
LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label,
                                double penalty = kDefaultPenalty);

// The mean of -log P(label) in nats for logits [n], label [n].
double mean_log_loss(std::span<const double> logits, std::span<const int> label);
// Of one row.
double log_loss(double logit, int label);

// Which of `folds` parts each row belongs to: every class is dealt out evenly, in an order shuffled
// by `seed`. label [n] 0 or 1.
std::vector<int> stratified_folds(std::span<const int> label, int folds, std::uint64_t seed);

// Logits [rows] that each row gets from a fit on the other folds. fold [rows] from
// stratified_folds. A fold whose other folds lack a class is left at logit 0. Else as fit_logistic.
std::vector<double> out_of_fold_logits(const Matrix& x, std::span<const int> label,
                                       std::span<const int> fold, std::span<const double> penalty);

}  // namespace dfengine
