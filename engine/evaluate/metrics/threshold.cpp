#include "engine/evaluate/metrics/threshold.h"

#include <fmt/format.h>

#include <cmath>
#include <tuple>

#include "engine/evaluate/metrics/curves.h"
#include "kernels/base/error.h"
#include "kernels/base/numbers.h"

namespace dfengine {
namespace {

constexpr std::string_view kFpr = "fpr@";

// Greater is better; the second decides where the first is equal.
using Worth = std::tuple<double, double>;

// `called` of `all` are called fake.
Worth worth(const ThresholdRule& rule, const RankStep& called, const RankStep& all) {
  const auto fp = static_cast<double>(called.fp), tp = static_cast<double>(called.tp);
  const auto reals = static_cast<double>(all.fp), fakes = static_cast<double>(all.tp);
  // Products of counts instead of rates: equal ones compare equal.
  switch (rule.goal) {
    case ThresholdRule::Goal::BalancedAccuracy:
      return {tp * reals + (reals - fp) * fakes, 0};
    case ThresholdRule::Goal::F1:
      return {2 * tp / (tp + fp + fakes), 0};
    case ThresholdRule::Goal::Eer:
      return {-std::abs(fp * fakes - (fakes - tp) * reals), 0};
    case ThresholdRule::Goal::Fpr:
      break;
  }
  if (fp / reals > rule.max_fpr) return {-1, -fp};
  return {tp, -fp};
}

// Above `low` and at most `high`, half way if there is a number in between.
double between(double low, double high) {
  const double middle = low + (high - low) / 2;
  return middle > low ? middle : high;
}

}  // namespace

ThresholdRule parse_threshold_rule(const std::string& text) {
  if (const auto goal = enum_names<ThresholdRule::Goal>.find(text)) return {*goal, 0};
  if (text.starts_with(kFpr)) {
    const auto max_fpr = number_of<double>(text.substr(kFpr.size()));
    if (max_fpr && *max_fpr >= 0 && *max_fpr < 1) return {ThresholdRule::Goal::Fpr, *max_fpr};
  }
  throw UsageError("threshold metric '" + text +
                   "': balanced-accuracy, f1, eer or fpr@x with x from 0 to below 1");
}

std::string to_string(const ThresholdRule& rule) {
  if (rule.goal != ThresholdRule::Goal::Fpr) return name_of(rule.goal);
  return fmt::format("{}{}", kFpr, rule.max_fpr);
}

double choose_threshold(std::span<const double> prob, std::span<const int> label,
                        const ThresholdRule& rule) {
  const std::vector<RankStep> steps = rank_scores(prob, label);
  if (steps.front().score > 1 || steps.back().score < 0)
    throw DataError("metrics: a probability is not in [0, 1]");
  const RankStep all = steps.back();
  constexpr double kMiddle = 0.5;
  if (all.fp == 0 || all.tp == 0) return kMiddle;
  // Nothing is called fake, except scores of 1.
  double best = between(steps.front().score, 1);
  Worth best_worth = worth(rule, steps.front().score < 1 ? RankStep{} : steps.front(), all);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double threshold =
        i + 1 < steps.size() ? between(steps[i + 1].score, steps[i].score) : 0.0;
    const Worth w = worth(rule, steps[i], all);
    if (w > best_worth ||
        (w == best_worth && std::abs(threshold - kMiddle) < std::abs(best - kMiddle))) {
      best = threshold;
      best_worth = w;
    }
  }
  return best;
}

}  // namespace dfengine
