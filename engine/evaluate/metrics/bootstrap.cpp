#include "engine/evaluate/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

}  // namespace

Interval percentile_interval(std::vector<double>& values) {
  constexpr double kTail = 0.025;
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  if (std::ranges::any_of(values, [](double v) { return std::isnan(v); })) return {kNaN, kNaN};
  std::ranges::sort(values);
  return {percentile(values, kTail), percentile(values, 1 - kTail)};
}

std::vector<Interval> bootstrap_intervals(std::span<const double> prob, std::span<const int> label,
                                          double threshold, std::uint64_t seed, Index resamples) {
  if (resamples < 1) throw UsageError("bootstrap: at least 1 resample");
  const ScoreSet set(prob, label);
  const std::vector<std::uint32_t> by_label[] = {set.positions(0), set.positions(1)};
  const auto fields = metric_fields();
  std::vector<std::vector<double>> values(fields.size());
  std::vector<std::uint32_t> counts(prob.size());
  for (Index r = 0; r < resamples; ++r) {
    Random random(seed, RandomStream::Bootstrap, static_cast<std::uint64_t>(r));
    std::ranges::fill(counts, 0);
    for (const std::vector<std::uint32_t>& positions : by_label)
      for (std::size_t i = 0; i < positions.size(); ++i)
        ++counts[positions[random.below(static_cast<std::uint32_t>(positions.size()))]];
    const Metrics m = set.metrics(threshold, counts);
    for (std::size_t f = 0; f < fields.size(); ++f) values[f].push_back(m.*fields[f].value);
  }
  std::vector<Interval> intervals;
  for (std::vector<double>& v : values) intervals.push_back(percentile_interval(v));
  return intervals;
}

}  // namespace dfengine
