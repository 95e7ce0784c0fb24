// How well probabilities agree with labels at a threshold, by scikit-learn's definitions.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/evaluate/metrics/curves.h"

namespace dfengine {

// Counts of pictures; positive means fake, label 1.
struct Confusion {
  Index tn = 0;
  Index fp = 0;
  Index fn = 0;
  Index tp = 0;
};

struct Metrics {
  Index n = 0;
  double threshold = 0;
  Confusion confusion;
  // These depend on the threshold. A ratio with a zero denominator is 0.
  double accuracy = 0;
  double balanced_accuracy = 0;  // the mean recall of the classes that are there
  double precision = 0;
  double recall = 0;
  double specificity = 0;  // recall of the reals
  double f1 = 0;
  double mcc = 0;  // Matthews' correlation coefficient
  // These look at all thresholds (engine/evaluate/metrics/curves.h).
  double roc_auc = 0;
  double pr_auc = 0;  // average precision
  double eer = 0;
  double tpr_at_fpr_10 = 0;  // at 10 % of the reals called fake
  double tpr_at_fpr_5 = 0;   // at 5 %
  double tpr_at_fpr_1 = 0;   // at 1 %
  double tpr_at_fpr_05 = 0;  // at .5 %
  double tpr_at_fpr_01 = 0;  // at .1 %
  // These judge the probabilities (engine/evaluate/metrics/calibration.h).
  double log_loss = 0;  // in nats, with probabilities kept 2^-52 away from 0 and 1
  double brier = 0;
  double ece = 0;
};

// What a detector says of n pictures.
struct Scores {
  std::span<const double> prob;  // of fake, [n], in [0, 1]
  // [n], rising with the probability: what the figures that look at all thresholds order pictures
  // by. Logits, where there are any: beyond some 37 a sigmoid is exactly 1, and pictures would tie.
  std::span<const double> rank;

  Scores(std::span<const double> prob_of, std::span<const double> rank_of)
      : prob(prob_of), rank(rank_of) {}
  // Ordered by the probabilities themselves.
  template <std::convertible_to<std::span<const double>> Range>
  Scores(const Range& prob_of) : prob(prob_of), rank(prob_of) {}
};

// prob >= threshold is called fake. Throws as rank_scores does, of rank too, ShapeError where their
// sizes differ, and DataError for a probability outside [0, 1].
Metrics compute_metrics(const Scores& scores, std::span<const int> label, double threshold);
// Throws as rank_scores does, and DataError for a probability outside [0, 1].
Reliability reliability(std::span<const double> prob, std::span<const int> label);

// Labelled scores, sorted once so that every metric of a reweighted sample costs one pass.
class ScoreSet {
 public:
  // label [n]. Throws as compute_metrics does.
  ScoreSet(const Scores& scores, std::span<const int> label);

  // The positions, in falling order of score, of the samples with this label.
  std::vector<std::uint32_t> positions(int label) const;

  // Every metric when the sample at position i counts counts[i] times; counts [n].
  Metrics metrics(double threshold, std::span<const std::uint32_t> counts) const;
  // Every metric when each sample counts once.
  Metrics metrics(double threshold) const { return metrics(threshold, once_); }
  Reliability reliability() const { return reliability(once_); }

 private:
  struct Scored {
    double rank, prob, log_loss, squared_error;
    int label;
    std::size_t bin;
  };
  Reliability reliability(std::span<const std::uint32_t> counts) const;
  std::vector<RankStep> steps(std::span<const std::uint32_t> counts) const;
  Confusion confusion(double threshold, std::span<const std::uint32_t> counts) const;

  std::vector<Scored> scored_;  // from the greatest rank to the least
  std::vector<std::uint32_t> once_;
};

// One of the figures of Metrics, for tables and files.
struct MetricField {
  const char* key;    // in files
  const char* title;  // for people
  double Metrics::*value;
  bool at_threshold;
};
// All figures, in the order in which they are shown.
std::span<const MetricField> metric_fields();

// The figures of scikit-learn's classification_report.
struct ClassReport {
  struct Row {
    double precision = 0, recall = 0, f1 = 0;
    Index support = 0;
  };
  std::array<Row, 2> by_label;  // real, fake
  Row macro, weighted;          // means over the classes, plain and by support
};
ClassReport class_report(const Confusion& confusion);

}  // namespace dfengine
