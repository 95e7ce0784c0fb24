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

struct LogisticRegression {
  std::vector<double> weights;  // [cols]
  double intercept = 0;

  // The logit of label 1; x [cols].
  double logit(std::span<const double> x) const;
  // The logits [rows] of x [rows, cols].
  std::vector<double> logits(const Matrix& x) const;
};

// What a column's weight costs unless something else is asked for, as scikit-learn's C = 1.
inline constexpr double kDefaultPenalty = 1.0;

// The most columns that fit_logistic takes.
inline constexpr Index kMaxFeatures = 2000;

// Minimises sum_i log(1 + exp(-s_i z_i)) + sum_j penalty_j w_j^2 / 2 with z = x w + intercept and s
// = +1 for label 1, -1 for label 0. The intercept costs nothing; penalty_j = 1 / C is
// scikit-learn's LogisticRegression(C). It uses Newton's method with step halving, which for
// logistic regression is iteratively reweighted least squares (Hastie, Tibshirani and Friedman,
// "The Elements of Statistical Learning", 4.4.1).
//
// x [rows, cols], label [rows] 0 or 1, penalty [cols]. Each penalty is > 0, so that a minimum
// exists for separable classes and for constant columns. Throws ShapeError for sizes that do not
// fit, DataError when a class is missing, a value is not finite or there are more than kMaxFeatures
// columns, UsageError for a penalty that is not positive.
LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label,
                                std::span<const double> penalty);
// Uses the same penalty for every column.
LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label,
                                double penalty = kDefaultPenalty);

// -log P(label), in nats.
double log_loss(double logit, int label);

// The fold to which each row belongs. Every class is dealt out evenly over the `folds` folds, in an
// order shuffled by `seed`. label [n] 0 or 1.
std::vector<int> stratified_folds(std::span<const int> label, int folds, std::uint64_t seed);

// The logits [rows] that each row gets from a fit on the other folds; fold [rows] is from
// stratified_folds. A fold whose other folds lack a class keeps logit 0. Throws as fit_logistic.
std::vector<double> out_of_fold_logits(const Matrix& x, std::span<const int> label,
                                       std::span<const int> fold, std::span<const double> penalty);

}  // namespace dfengine
