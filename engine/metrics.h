// How well probabilities agree with labels, by scikit-learn's definitions.
#pragma once

#include <span>

#include "kernels/shape.h"

namespace dfengine {

// Positive = 1 = fake.
struct Confusion {
  Index tn = 0;
  Index fp = 0;
  Index fn = 0;
  Index tp = 0;
};

struct Metrics {
  Index n = 0;
  double threshold = 0;
  double accuracy = 0;
  double precision = 0;
  double recall = 0;
  double f1 = 0;
  double roc_auc = 0;
  double log_loss = 0;
  Confusion confusion;
};

// Area under the ROC curve = the chance that a fake scores above a real one, ties counting half
// (Mann-Whitney U from average ranks). prob, label [n]; label 0 or 1. NaN when a class is missing.
// Throws ShapeError when the sizes differ or n is 0, DataError for a NaN or another label.
double roc_auc(std::span<const double> prob, std::span<const int> label);

// prob [n] = probability of fake; prob >= threshold is called fake. Ratios with a zero denominator
// are 0. log_loss is in nats, with probabilities kept 2^-52 away from 0 and 1.
// Throws as roc_auc does, and DataError for a probability outside [0, 1].
Metrics compute_metrics(std::span<const double> prob, std::span<const int> label, double threshold);

}  // namespace dfengine
