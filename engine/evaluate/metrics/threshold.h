// Chooses, on validation pictures, the probability from which a picture is called fake.
#pragma once

#include <span>
#include <string>

#include "kernels/base/enum_names.h"

namespace dfengine {

// What a threshold is chosen for.
struct ThresholdRule {
  enum class Goal {
    BalancedAccuracy,  // the greatest mean recall of both classes
    F1,                // the greatest F1 of the fakes
    Eer,               // as large a share of reals called fake as of fakes called real
    Fpr,               // the most fakes found with at most max_fpr of the reals called fake
  };
  Goal goal = Goal::BalancedAccuracy;
  double max_fpr = 0;  // of Fpr
  bool operator==(const ThresholdRule&) const = default;
};
// Fpr has no name of its own: "fpr@x" says x too.
template <>
inline constexpr auto enum_names<ThresholdRule::Goal> = names_for<ThresholdRule::Goal>(
    "threshold metric", {{"balanced-accuracy", ThresholdRule::Goal::BalancedAccuracy},
                         {"f1", ThresholdRule::Goal::F1},
                         {"eer", ThresholdRule::Goal::Eer}});

// Reads "balanced-accuracy", "f1", "eer" or "fpr@x" with x in [0, 1). Throws UsageError for other
// text.
ThresholdRule parse_threshold_rule(const std::string& text);
std::string to_string(const ThresholdRule& rule);

// The best threshold in [0, 1] for `prob >= threshold is fake`. It lies half way between two
// neighbouring scores (or the end, 0 or 1), so that rounding does not move a picture across it.
// Among equally good ones it is the nearest to 0.5, and it is 0.5 where a class is missing. prob
// [n] in [0, 1], label [n]. Throws as compute_metrics does.
double choose_threshold(std::span<const double> prob, std::span<const int> label,
                        const ThresholdRule& rule);

}  // namespace dfengine
