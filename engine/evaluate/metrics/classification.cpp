#include "engine/evaluate/metrics/classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr MetricField kFields[] = {
    {"accuracy", "accuracy", &Metrics::accuracy, true},
    {"balanced_accuracy", "balanced accuracy", &Metrics::balanced_accuracy, true},
    {"precision", "precision", &Metrics::precision, true},
    {"recall", "recall", &Metrics::recall, true},
    {"specificity", "specificity", &Metrics::specificity, true},
    {"f1", "F1", &Metrics::f1, true},
    {"mcc", "MCC", &Metrics::mcc, true},
    {"roc_auc", "ROC-AUC", &Metrics::roc_auc, false},
    {"pr_auc", "PR-AUC", &Metrics::pr_auc, false},
    {"eer", "EER", &Metrics::eer, false},
    {"tpr_at_fpr_0.1", "TPR at FPR .1", &Metrics::tpr_at_fpr_10, false},
    {"tpr_at_fpr_0.05", "TPR at FPR .05", &Metrics::tpr_at_fpr_5, false},
    {"tpr_at_fpr_0.01", "TPR at FPR .01", &Metrics::tpr_at_fpr_1, false},
    {"tpr_at_fpr_0.005", "TPR at FPR .005", &Metrics::tpr_at_fpr_05, false},
    {"tpr_at_fpr_0.001", "TPR at FPR .001", &Metrics::tpr_at_fpr_01, false},
    {"log_loss", "log loss", &Metrics::log_loss, false},
    {"brier", "Brier score", &Metrics::brier, false},
    {"ece", "calibration error", &Metrics::ece, false},
};

double ratio(Index part, Index whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

double log_loss(double prob, int label) {
  constexpr double kEps = std::numeric_limits<double>::epsilon();
  return -std::log(std::clamp(label == 1 ? prob : 1.0 - prob, kEps, 1.0 - kEps));
}

// Matthews' correlation coefficient; 0 where a row or column of the confusion matrix is empty.
double correlation(const Confusion& c) {
  const auto tn = static_cast<double>(c.tn), fp = static_cast<double>(c.fp);
  const auto fn = static_cast<double>(c.fn), tp = static_cast<double>(c.tp);
  const double square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn);
  return square == 0 ? 0.0 : (tp * tn - fp * fn) / std::sqrt(square);
}

void fill_from_confusion(Metrics& m) {
  const Confusion& c = m.confusion;
  m.accuracy = ratio(c.tp + c.tn, m.n);
  m.precision = ratio(c.tp, c.tp + c.fp);
  m.recall = ratio(c.tp, c.tp + c.fn);
  m.specificity = ratio(c.tn, c.tn + c.fp);
  const int classes = (c.tp + c.fn > 0 ? 1 : 0) + (c.tn + c.fp > 0 ? 1 : 0);
  m.balanced_accuracy = (m.recall + m.specificity) / classes;
  m.f1 = ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn);
  m.mcc = correlation(c);
}

ClassReport::Row row(Index right, Index missed, Index wrong) {
  return {ratio(right, right + wrong), ratio(right, right + missed),
          ratio(2 * right, 2 * right + missed + wrong), right + missed};
}

ClassReport::Row mean(const std::array<ClassReport::Row, 2>& rows, double w0, double w1) {
  const auto of = [&](double ClassReport::Row::*field) {
    return (w0 * rows[0].*field + w1 * rows[1].*field) / (w0 + w1);
  };
  return {of(&ClassReport::Row::precision), of(&ClassReport::Row::recall),
          of(&ClassReport::Row::f1), rows[0].support + rows[1].support};
}

}  // namespace

ScoreSet::ScoreSet(const Scores& scores, std::span<const int> label)
    : once_(scores.prob.size(), 1) {
  const auto& [prob, rank] = scores;
  rank_scores(prob, label);  // for its checks
  rank_scores(rank, label);
  for (std::size_t i = 0; i < prob.size(); ++i) {
    if (prob[i] < 0 || prob[i] > 1)
      throw DataError(fmt::format("metrics: probability {} is {}, not in [0, 1]", i, prob[i]));
    const double error = prob[i] - label[i];
    scored_.push_back({rank[i], prob[i], log_loss(prob[i], label[i]), error * error, label[i],
                       reliability_bin(prob[i])});
  }
  std::ranges::stable_sort(scored_, std::greater<>(), &Scored::rank);
}

std::vector<std::uint32_t> ScoreSet::positions(int label) const {
  std::vector<std::uint32_t> found;
  for (std::size_t i = 0; i < scored_.size(); ++i)
    if (scored_[i].label == label) found.push_back(static_cast<std::uint32_t>(i));
  return found;
}

std::vector<RankStep> ScoreSet::steps(std::span<const std::uint32_t> counts) const {
  std::vector<RankStep> steps;
  steps.reserve(scored_.size());
  RankStep now;
  for (std::size_t i = 0; i < scored_.size(); ++i) {
    if (counts[i] == 0) continue;
    const Scored& s = scored_[i];
    if (now.fp + now.tp > 0 && now.score != s.rank) steps.push_back(now);
    now.score = s.rank;
    (s.label == 1 ? now.tp : now.fp) += counts[i];
  }
  steps.push_back(now);
  return steps;
}

Confusion ScoreSet::confusion(double threshold, std::span<const std::uint32_t> counts) const {
  Confusion c;
  for (std::size_t i = 0; i < scored_.size(); ++i) {
    const Scored& s = scored_[i];
    const bool called = s.prob >= threshold;
    (s.label == 1 ? (called ? c.tp : c.fn) : (called ? c.fp : c.tn)) += counts[i];
  }
  return c;
}

Reliability ScoreSet::reliability(std::span<const std::uint32_t> counts) const {
  Reliability bins;
  for (std::size_t i = 0; i < scored_.size(); ++i) {
    ReliabilityBin& b = bins[scored_[i].bin];
    b.n += counts[i];
    b.mean_prob += counts[i] * scored_[i].prob;
    b.share_fake += counts[i] * static_cast<double>(scored_[i].label);
  }
  for (ReliabilityBin& b : bins) {
    if (b.n == 0) continue;
    b.mean_prob /= static_cast<double>(b.n);
    b.share_fake /= static_cast<double>(b.n);
  }
  return bins;
}

Metrics ScoreSet::metrics(double threshold, std::span<const std::uint32_t> counts) const {
  const std::vector<RankStep> ranks = steps(counts);
  Metrics m;
  m.n = ranks.back().fp + ranks.back().tp;
  m.threshold = threshold;
  m.confusion = confusion(threshold, counts);
  fill_from_confusion(m);
  m.roc_auc = roc_auc(ranks);
  m.pr_auc = average_precision(ranks);
  m.eer = equal_error_rate(ranks);
  m.tpr_at_fpr_10 = tpr_at_fpr(ranks, 0.1);
  m.tpr_at_fpr_5 = tpr_at_fpr(ranks, 0.05);
  m.tpr_at_fpr_1 = tpr_at_fpr(ranks, 0.01);
  m.tpr_at_fpr_05 = tpr_at_fpr(ranks, 0.005);
  m.tpr_at_fpr_01 = tpr_at_fpr(ranks, 0.001);
  for (std::size_t i = 0; i < scored_.size(); ++i) {
    m.log_loss += counts[i] * scored_[i].log_loss;
    m.brier += counts[i] * scored_[i].squared_error;
  }
  m.log_loss /= static_cast<double>(m.n);
  m.brier /= static_cast<double>(m.n);
  m.ece = expected_calibration_error(reliability(counts));
  return m;
}

Metrics compute_metrics(const Scores& scores, std::span<const int> label, double threshold) {
  return ScoreSet(scores, label).metrics(threshold);
}

Reliability reliability(std::span<const double> prob, std::span<const int> label) {
  return ScoreSet(prob, label).reliability();
}

std::span<const MetricField> metric_fields() {
  return kFields;
}

ClassReport class_report(const Confusion& c) {
  ClassReport report;
  report.by_label = {row(c.tn, c.fp, c.fn), row(c.tp, c.fn, c.fp)};
  report.macro = mean(report.by_label, 1, 1);
  report.weighted =
      mean(report.by_label, static_cast<double>(c.tn + c.fp), static_cast<double>(c.tp + c.fn));
  return report;
}

}  // namespace dfengine
