#include "engine/evaluate/metrics/paired.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

// The ranks of one class, of both detectors; and where its pictures stand among all.
struct ClassScores {
  std::array<std::vector<double>, 2> by_detector;
  std::vector<std::size_t> at;
};

// The share of `others`, which are sorted, below x; ties count half.
double share_below(double x, const std::vector<double>& others) {
  const auto [first, last] = std::equal_range(others.begin(), others.end(), x);
  const double ties = static_cast<double>(last - first);
  return (static_cast<double>(first - others.begin()) + ties / 2) /
         static_cast<double>(others.size());
}

// DeLong's structural components: of each fake the share of reals it beats, of each real the share
// of fakes that beat it.
std::array<std::vector<double>, 2> components(const ClassScores& real, const ClassScores& fake,
                                              std::size_t detector) {
  std::vector<double> reals = real.by_detector[detector], fakes = fake.by_detector[detector];
  std::ranges::sort(reals);
  std::ranges::sort(fakes);
  std::array<std::vector<double>, 2> of;
  for (double x : real.by_detector[detector]) of[0].push_back(1 - share_below(x, fakes));
  for (double x : fake.by_detector[detector]) of[1].push_back(share_below(x, reals));
  return of;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

// The unbiased variance of the differences, divided by their number.
double variance_of_mean(const std::vector<double>& a, const std::vector<double>& b) {
  const double middle = mean(b) - mean(a);
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = b[i] - a[i] - middle;
    squares += d * d;
  }
  const auto n = static_cast<double>(a.size());
  return squares / (n - 1) / n;
}

void compare_by_delong(const ClassScores& real, const ClassScores& fake, PairedComparison& c) {
  const auto first = components(real, fake, 0), second = components(real, fake, 1);
  c.auc[0] = mean(first[1]);
  c.auc[1] = mean(second[1]);
  c.standard_error =
      std::sqrt(variance_of_mean(first[0], second[0]) + variance_of_mean(first[1], second[1]));
  const double difference = c.auc[1] - c.auc[0];
  constexpr double kRounding = 1e-14;  // of sums of shares: less is no spread
  if (c.standard_error <= kRounding) c.standard_error = 0;
  if (c.standard_error > 0) {
    c.z = difference / c.standard_error;
    c.p = std::erfc(std::abs(c.z) / std::sqrt(2.0));
  } else if (std::abs(difference) > kRounding) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    c.z = c.p = kNaN;
    c.auc_difference = {kNaN, kNaN};
    return;
  }
  const double half = kNormalQuantile * c.standard_error;
  c.auc_difference = {difference - half, difference + half};
}

struct Differences {
  std::vector<double> auc, accuracy;
};

Differences resample(const std::array<ClassScores, 2>& classes,
                     const std::array<PairedScores, 2>& scores, std::uint64_t seed,
                     Index resamples) {
  Differences all;
  std::vector<double> rank[2];
  for (Index r = 0; r < resamples; ++r) {
    Random random(seed, RandomStream::Bootstrap, static_cast<std::uint64_t>(r));
    std::vector<int> drawn_label;
    for (std::vector<double>& of : rank) of.clear();
    Index right[2] = {};
    for (int c = 0; c < 2; ++c) {
      const std::vector<std::size_t>& of = classes[static_cast<std::size_t>(c)].at;
      for (std::size_t i = 0; i < of.size(); ++i) {
        const std::size_t k = of[random.below(static_cast<std::uint32_t>(of.size()))];
        for (std::size_t d = 0; d < 2; ++d) {
          rank[d].push_back(scores[d].scores.rank[k]);
          right[d] += (scores[d].scores.prob[k] >= scores[d].threshold) == (c == 1) ? 1 : 0;
        }
        drawn_label.push_back(c);
      }
    }
    double auc[2], accuracy[2];
    for (std::size_t d = 0; d < 2; ++d) {
      auc[d] = roc_auc(rank[d], drawn_label);
      accuracy[d] = static_cast<double>(right[d]) / static_cast<double>(drawn_label.size());
    }
    all.auc.push_back(auc[1] - auc[0]);
    all.accuracy.push_back(accuracy[1] - accuracy[0]);
  }
  return all;
}

}  // namespace

PairedComparison compare_paired(const PairedScores& first, const PairedScores& second,
                                std::span<const int> label, std::uint64_t seed, Index resamples) {
  for (const Scores& s : {first.scores, second.scores})
    if (s.prob.size() != label.size() || s.rank.size() != label.size())
      throw ShapeError("paired comparison: both detectors need a score for each label");
  if (resamples < 1) throw UsageError("bootstrap: at least 1 resample");
  const std::array<PairedScores, 2> scores = {first, second};
  PairedComparison c;
  c.n = std::ssize(label);
  for (std::size_t d = 0; d < 2; ++d)
    c.accuracy[d] = compute_metrics(scores[d].scores, label, scores[d].threshold).accuracy;
  std::array<ClassScores, 2> classes;
  for (std::size_t i = 0; i < label.size(); ++i) {
    ClassScores& of = classes[label[i] == 1 ? 1 : 0];
    of.at.push_back(i);
    for (std::size_t d = 0; d < 2; ++d) of.by_detector[d].push_back(scores[d].scores.rank[i]);
  }
  if (classes[0].at.size() < 2 || classes[1].at.size() < 2)
    throw DataError("paired comparison: each class needs two pictures at least");
  compare_by_delong(classes[0], classes[1], c);
  Differences differences = resample(classes, scores, seed, resamples);
  c.auc_resampled = percentile_interval(differences.auc);
  if (std::isnan(c.p)) c.auc_resampled = c.auc_difference;
  c.accuracy_resampled = percentile_interval(differences.accuracy);
  return c;
}

nlohmann::json to_json(const PairedComparison& c) {
  const auto interval = [](const Interval& i) { return nlohmann::json{i.low, i.high}; };
  return {{"n", c.n},
          {"roc_auc", {c.auc[0], c.auc[1]}},
          {"accuracy", {c.accuracy[0], c.accuracy[1]}},
          {"delong",
           {{"difference", c.auc[1] - c.auc[0]},
            {"standard_error", c.standard_error},
            {"z", c.z},
            {"p", c.p},
            {"interval", interval(c.auc_difference)}}},
          {"bootstrap",
           {{"roc_auc_difference", interval(c.auc_resampled)},
            {"accuracy_difference", interval(c.accuracy_resampled)}}}};
}

std::string to_text(const PairedComparison& c) {
  const auto interval = [](const Interval& i) {
    return std::isnan(i.low) ? "-" : fmt::format("[{:+.4f}, {:+.4f}]", i.low, i.high);
  };
  const std::string test =
      std::isnan(c.p) ? "DeLong: no test, for the AUCs do not vary with the pictures; take more"
                      : fmt::format("DeLong; z {:.2f}, p {:.2g}", c.z, c.p);
  std::string text = fmt::format("{} pictures\n{:12}  first   second  difference\n", c.n, "");
  text += fmt::format("{:12}  {:.4f}  {:.4f}  {:+.4f} {} ({})\n", "ROC-AUC", c.auc[0], c.auc[1],
                      c.auc[1] - c.auc[0], interval(c.auc_difference), test);
  text += fmt::format("{:12}  {:14}  {:7} {} (bootstrap)\n", "", "", "", interval(c.auc_resampled));
  return text + fmt::format("{:12}  {:.4f}  {:.4f}  {:+.4f} {} (bootstrap)\n", "accuracy",
                            c.accuracy[0], c.accuracy[1], c.accuracy[1] - c.accuracy[0],
                            interval(c.accuracy_resampled));
}

}  // namespace dfengine
