#include "engine/evaluate/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

// `values` sorted.
double percentile(std::span<const double> values, double share) {
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

// What sums of the same numbers in another order may differ by.
constexpr double kSame = 1e-12;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Of this figure, or nothing where it is no plain share.
std::optional<Interval> share_interval(const Metrics& m, double Metrics::*figure) {
  const Confusion& c = m.confusion;
  if (figure == &Metrics::accuracy) return wilson_interval(m.accuracy, m.n);
  if (figure == &Metrics::precision) return wilson_interval(m.precision, c.tp + c.fp);
  if (figure == &Metrics::recall) return wilson_interval(m.recall, c.tp + c.fn);
  if (figure == &Metrics::specificity) return wilson_interval(m.specificity, c.tn + c.fp);
  return std::nullopt;
}

}  // namespace

Interval percentile_interval(std::vector<double>& values) {
  constexpr double kTail = 0.025;
  if (std::ranges::any_of(values, [](double v) { return std::isnan(v); })) return {kNaN, kNaN};
  std::ranges::sort(values);
  return {percentile(values, kTail), percentile(values, 1 - kTail)};
}

Interval wilson_interval(double share, Index n) {
  if (n == 0) return {kNaN, kNaN};
  const double count = static_cast<double>(n), z2 = kNormalQuantile * kNormalQuantile;
  const double centre = (share + z2 / (2 * count)) / (1 + z2 / count);
  const double half = kNormalQuantile *
                      std::sqrt(share * (1 - share) / count + z2 / (4 * count * count)) /
                      (1 + z2 / count);
  return {std::max(centre - half, 0.0), std::min(centre + half, 1.0)};
}

std::vector<Interval> metric_intervals(const Scores& scores, std::span<const int> label,
                                       double threshold, std::uint64_t seed, Index resamples) {
  if (resamples < 1) throw UsageError("bootstrap: at least 1 resample");
  const ScoreSet set(scores, label);
  const std::vector<std::uint32_t> by_label[] = {set.positions(0), set.positions(1)};
  const auto fields = metric_fields();
  std::vector<std::vector<double>> values(fields.size());
  std::vector<std::uint32_t> counts(label.size());
  for (Index r = 0; r < resamples; ++r) {
    Random random(seed, RandomStream::Bootstrap, static_cast<std::uint64_t>(r));
    std::ranges::fill(counts, 0);
    for (const std::vector<std::uint32_t>& positions : by_label)
      for (std::size_t i = 0; i < positions.size(); ++i)
        ++counts[positions[random.below(static_cast<std::uint32_t>(positions.size()))]];
    const Metrics m = set.metrics(threshold, counts);
    for (std::size_t f = 0; f < fields.size(); ++f) values[f].push_back(m.*fields[f].value);
  }
  const Metrics all = set.metrics(threshold);
  std::vector<Interval> intervals;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    const auto of_share = share_interval(all, fields[f].value);
    intervals.push_back(of_share ? *of_share : percentile_interval(values[f]));
    // Sorted by now.
    if (!of_share && values[f].back() - values[f].front() <= kSame) intervals.back() = {kNaN, kNaN};
  }
  return intervals;
}

}  // namespace dfengine
