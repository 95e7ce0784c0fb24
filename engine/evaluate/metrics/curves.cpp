#include "engine/evaluate/metrics/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check(std::span<const double> scores, std::span<const int> label) {
  if (scores.size() != label.size() || scores.empty())
    throw ShapeError(fmt::format("metrics: {} scores for {} labels (equal and at least 1)",
                                 scores.size(), label.size()));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i]))
      throw DataError(fmt::format(
          "metrics: score {} is NaN; the model diverged, try a lower learning rate", i));
    if (label[i] != 0 && label[i] != 1)
      throw DataError(fmt::format("metrics: label {} is {}, not 0 or 1", i, label[i]));
  }
}

double share(Index part, Index whole) {
  return whole == 0 ? kNaN : static_cast<double>(part) / static_cast<double>(whole);
}

bool one_class(std::span<const RankStep> steps) {
  return steps.back().fp == 0 || steps.back().tp == 0;
}

// Whether the curve turns at step i.
bool corner(std::span<const RankStep> steps, std::size_t i) {
  const RankStep &a = steps[i - 1], &b = steps[i], &c = steps[i + 1];
  return c.fp - 2 * b.fp + a.fp != 0 || c.tp - 2 * b.tp + a.tp != 0;
}

}  // namespace

std::vector<RankStep> rank_scores(std::span<const double> scores, std::span<const int> label) {
  check(scores, label);
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  std::vector<RankStep> steps;
  for (const std::size_t i : order) {
    if (steps.empty()) {
      steps.push_back({scores[i], 0, 0});
    } else if (steps.back().score != scores[i]) {
      steps.push_back({scores[i], steps.back().fp, steps.back().tp});
    }
    (label[i] == 1 ? steps.back().tp : steps.back().fp) += 1;
  }
  return steps;
}

double roc_auc(std::span<const RankStep> steps) {
  if (one_class(steps)) return kNaN;
  // Counted in halves so that ties stay whole numbers.
  Index half_wins = 0;
  RankStep before;
  for (const RankStep& s : steps) {
    half_wins += (s.fp - before.fp) * (before.tp + s.tp);
    before = s;
  }
  return 0.5 * static_cast<double>(half_wins) /
         (static_cast<double>(before.fp) * static_cast<double>(before.tp));
}

double roc_auc(std::span<const double> scores, std::span<const int> label) {
  return roc_auc(rank_scores(scores, label));
}

double average_precision(std::span<const RankStep> steps) {
  double sum = 0;
  Index tp = 0;
  for (const RankStep& s : steps) {
    if (s.tp > tp) sum += static_cast<double>(s.tp - tp) * share(s.tp, s.tp + s.fp);
    tp = s.tp;
  }
  return tp == 0 ? 0.0 : sum / static_cast<double>(tp);
}

double equal_error_rate(std::span<const RankStep> steps) {
  if (one_class(steps)) return kNaN;
  const RankStep all = steps.back();
  double fpr = 0, sum = 0;  // sum = fpr + tpr rises strictly, from 0 to 2
  for (const RankStep& s : steps) {
    const double next_fpr = share(s.fp, all.fp), next_sum = next_fpr + share(s.tp, all.tp);
    if (next_sum >= 1) return fpr + (1 - sum) / (next_sum - sum) * (next_fpr - fpr);
    fpr = next_fpr;
    sum = next_sum;
  }
  return kNaN;  // not reached: the last sum is 2
}

double tpr_at_fpr(std::span<const RankStep> steps, double fpr) {
  if (one_class(steps)) return kNaN;
  const RankStep all = steps.back();
  const auto beyond = std::ranges::partition_point(
      steps, [&](const RankStep& s) { return share(s.fp, all.fp) <= fpr; });
  return beyond == steps.begin() ? 0.0 : share(std::prev(beyond)->tp, all.tp);
}

RocCurve roc_curve(std::span<const RankStep> steps) {
  const RankStep all = steps.back();
  RocCurve curve;
  const auto add = [&](const RankStep& s) {
    curve.fpr.push_back(share(s.fp, all.fp));
    curve.tpr.push_back(share(s.tp, all.tp));
    curve.threshold.push_back(s.score);
  };
  add({std::numeric_limits<double>::infinity(), 0, 0});
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (i == 0 || i + 1 == steps.size() || corner(steps, i)) add(steps[i]);
  return curve;
}

PrecisionRecallCurve precision_recall_curve(std::span<const RankStep> steps) {
  const RankStep all = steps.back();
  PrecisionRecallCurve curve;
  for (auto s = steps.rbegin(); s != steps.rend(); ++s) {
    curve.precision.push_back(share(s->tp, s->tp + s->fp));
    curve.recall.push_back(all.tp == 0 ? 1.0 : share(s->tp, all.tp));
    curve.threshold.push_back(s->score);
  }
  curve.precision.push_back(1);
  curve.recall.push_back(0);
  return curve;
}

}  // namespace dfengine
