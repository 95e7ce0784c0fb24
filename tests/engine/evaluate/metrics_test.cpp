// Metrics by hand: what they refuse, intervals against a plain resampling, thresholds' tie rules.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/evaluate/metrics/groups.h"
#include "engine/evaluate/metrics/paired.h"
#include "engine/evaluate/metrics/summary.h"
#include "engine/evaluate/metrics/threshold.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/sigmoid.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;

TEST(Metrics, AucIgnoresOrderOfSamplesAndScaleOfScores) {
  const Doubles prob = {0.1, 0.4, 0.35, 0.8, 0.4}, other = {-4, 40, 3, 1e9, 40};
  const Ints label = {0, 0, 1, 1, 1};
  // By hand: of 6 pairs, 0.35 beats one, 0.8 two, 0.4 one and a half.
  EXPECT_EQ(roc_auc(prob, label), 4.5 / 6);
  EXPECT_EQ(roc_auc(other, label), 4.5 / 6);
  EXPECT_EQ(roc_auc(Doubles(prob.rbegin(), prob.rend()), Ints(label.rbegin(), label.rend())),
            4.5 / 6);
}

TEST(Metrics, EqualErrorRateByHand) {
  // ROC: (0, .5), (.5, .5), (.5, 1), (1, 1): the second segment meets fpr = 1 - tpr at .5.
  EXPECT_EQ(equal_error_rate(rank_scores(Doubles{.9, .8, .7, .1}, Ints{1, 0, 1, 0})), .5);
  // One step from (0, 0) to (1, 1).
  EXPECT_EQ(equal_error_rate(rank_scores(Doubles{.5, .5}, Ints{1, 0})), .5);
  EXPECT_EQ(equal_error_rate(rank_scores(Doubles{.9, .1}, Ints{1, 0})), 0);
}

// Beyond some 37 a sigmoid is exactly 1; logits still tell such pictures apart.
TEST(Metrics, LogitsRankPicturesWhoseProbabilitiesAreAllOne) {
  const Doubles logit = {38, 45, 40, 60};
  const Ints label = {0, 1, 0, 1};
  Doubles prob;
  for (const double z : logit) prob.push_back(sigmoid(z));
  ASSERT_EQ(prob, Doubles(4, 1.0));
  const Metrics tied = compute_metrics(prob, label, .5);
  const Metrics ranked = compute_metrics({prob, logit}, label, .5);
  EXPECT_EQ(tied.roc_auc, .5);
  EXPECT_EQ(ranked.roc_auc, 1);
  EXPECT_EQ(ranked.pr_auc, 1);
  EXPECT_EQ(ranked.eer, 0);
  EXPECT_EQ(ranked.tpr_at_fpr_01, 1);
  // What judges the probabilities, or calls pictures fake by them, stays.
  for (const auto figure : {&Metrics::accuracy, &Metrics::log_loss, &Metrics::brier, &Metrics::ece})
    EXPECT_EQ(ranked.*figure, tied.*figure);
  EXPECT_EQ(measure_groups({prob, logit}, label, std::vector<std::string>(4, "all"), .5)[0].roc_auc,
            1);
  EXPECT_EQ(compare_paired({prob, .5}, {{prob, logit}, .5}, label, 0, 20).auc[1], 1);
  EXPECT_THROW(compute_metrics({prob, Doubles{1, 2}}, label, .5), ShapeError);
}

TEST(Metrics, RefusesBadInput) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Ints pair = {0, 1};
  EXPECT_THROW(compute_metrics(Doubles{.5, .5}, Ints{1}, .5), ShapeError);
  EXPECT_THROW(compute_metrics(Doubles{}, Ints{}, .5), ShapeError);
  EXPECT_THROW(roc_auc(Doubles{}, Ints{}), ShapeError);
  EXPECT_THROW(compute_metrics(Doubles{.5, .5}, Ints{0, 2}, .5), DataError);
  EXPECT_THROW(compute_metrics(Doubles{.5, nan}, pair, .5), DataError);
  EXPECT_THROW(roc_auc(Doubles{.5, nan}, pair), DataError);
  EXPECT_THROW(compute_metrics(Doubles{.5, 1.5}, pair, .5), DataError);
  EXPECT_THROW(reliability(Doubles{.5, -1e-9}, pair), DataError);
  EXPECT_THROW(choose_threshold(Doubles{.5, 1.5}, pair, {}), DataError);
  EXPECT_THROW(fit_temperature(Doubles{0, nan}, pair), DataError);
  EXPECT_THROW(fit_temperature(Doubles{0, INFINITY}, pair), DataError);
  EXPECT_THROW(metric_intervals(Doubles{.1, .9}, pair, .5, 0, 0), UsageError);
}

// Scores of both classes that overlap, some tied.
struct Sample {
  explicit Sample(int n) {
    Random random(7, RandomStream::Synth, 0);
    for (int i = 0; i < n; ++i) {
      label.push_back(i % 3 == 0 ? 1 : 0);
      prob.push_back(std::round(100 * sigmoid(random.normal() + label.back())) / 100);
    }
  }
  Doubles prob;
  Ints label;
};

// Those have Wilson's interval.
bool is_share(const MetricField& field) {
  return field.value == &Metrics::accuracy || field.value == &Metrics::precision ||
         field.value == &Metrics::recall || field.value == &Metrics::specificity;
}

// Newcombe 1998, table I: "score".
TEST(Wilson, EqualsThePublishedIntervals) {
  struct Case {
    double part;
    Index of;
    double low, high;
  };
  const double tolerance = test::decimal_tolerance(4, 1);
  for (const Case& c : {Case{81, 263, .2553, .3662},
                        {15, 148, .0624, .1605},
                        {0, 20, 0, .1611},
                        {1, 29, .0061, .1718}}) {
    const Interval got = wilson_interval(c.part / static_cast<double>(c.of), c.of);
    EXPECT_NEAR(got.low, c.low, tolerance) << c.part;
    EXPECT_NEAR(got.high, c.high, tolerance) << c.part;
  }
  EXPECT_TRUE(std::isnan(wilson_interval(0, 0).low));
}

// Every resample of a perfect answer is perfect, which is no sign that more pictures would be.
TEST(Intervals, HaveAWidthAtTheirEndsOrAreNone) {
  Doubles prob;
  Ints label;
  for (int i = 0; i < 40; ++i) {
    label.push_back(i % 2);
    prob.push_back(i % 2 == 1 ? .9 - .001 * i : .1 + .001 * i);
  }
  const auto intervals = metric_intervals(prob, label, .5, 0, 50);
  const Metrics m = compute_metrics(prob, label, .5);
  for (std::size_t f = 0; f < intervals.size(); ++f) {
    const MetricField& field = metric_fields()[f];
    SCOPED_TRACE(field.key);
    const bool at_end = m.*field.value == 0 || m.*field.value == 1;
    if (is_share(field)) {
      const Index n = field.value == &Metrics::accuracy ? 40 : 20;
      EXPECT_EQ(intervals[f].low, wilson_interval(1, n).low);
      EXPECT_EQ(intervals[f].high, 1);
    } else {
      EXPECT_EQ(std::isnan(intervals[f].low) && std::isnan(intervals[f].high), at_end);
    }
  }
  EXPECT_EQ(with_interval(1, intervals[7]), "1.0000 [no interval]");
}

// Sums of the same losses in another order differ in their last bits.
TEST(Intervals, AreNoneForScoresThatDoNotVary) {
  const Doubles prob(40, .3);
  Ints label;
  for (int i = 0; i < 40; ++i) label.push_back(i % 2);
  const Summary s = summarize(prob, label, .5, 0, 50);
  for (std::size_t f = 0; f < s.intervals.size(); ++f) {
    const MetricField& field = metric_fields()[f];
    if (!is_share(field)) {
      EXPECT_TRUE(std::isnan(s.intervals[f].low)) << field.key;
    }
  }
  const std::string text = to_text(s, s, {"real", "fake"});
  EXPECT_NE(text.find("gives the same, or a class is missing or never called"), text.npos) << text;
}

TEST(Bootstrap, EqualsPlainResampling) {
  const Sample all(61);
  constexpr Index kResamples = 40;
  const std::uint64_t seed = 3;
  // Written out: falling scores, and as many draws of each class as it has.
  std::vector<std::size_t> order(all.prob.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return all.prob[i]; });
  std::vector<Doubles> values(metric_fields().size());
  for (Index r = 0; r < kResamples; ++r) {
    Random random(seed, RandomStream::Bootstrap, static_cast<std::uint64_t>(r));
    Doubles prob;
    Ints label;
    for (const int wanted : {0, 1}) {
      std::vector<std::size_t> own;
      for (const std::size_t i : order)
        if (all.label[i] == wanted) own.push_back(i);
      for (std::size_t k = 0; k < own.size(); ++k) {
        const std::size_t i = own[random.below(static_cast<std::uint32_t>(own.size()))];
        prob.push_back(all.prob[i]);
        label.push_back(wanted);
      }
    }
    const Metrics m = compute_metrics(prob, label, 0.4);
    for (std::size_t f = 0; f < values.size(); ++f)
      values[f].push_back(m.*metric_fields()[f].value);
  }
  const auto intervals = metric_intervals(all.prob, all.label, 0.4, seed, kResamples);
  const double tolerance = test::tolerance<double>(61, 1);
  for (std::size_t f = 0; f < values.size(); ++f) {
    SCOPED_TRACE(metric_fields()[f].key);
    if (is_share(metric_fields()[f])) continue;
    std::ranges::sort(values[f]);
    // numpy.percentile: .025 * 39 = .975, .975 * 39 = 38.025.
    EXPECT_NEAR(intervals[f].low, values[f][0] + .975 * (values[f][1] - values[f][0]), tolerance);
    EXPECT_NEAR(intervals[f].high, values[f][38] + .025 * (values[f][39] - values[f][38]),
                tolerance);
  }
}

TEST(Bootstrap, BalancedAccuracyIntervalIsTheBinomialOne) {
  Doubles prob;
  Ints label;
  for (int i = 0; i < 1000; ++i) {  // .8 of each class are right
    label.push_back(i % 2);
    prob.push_back((i / 2 % 5 == 0) == (i % 2 == 0) ? 1 : 0);
  }
  const Interval accuracy = metric_intervals(prob, label, .5, 0)[1];
  const double deviation = std::sqrt(.8 * .2 / 1000);
  // A 2.5 % quantile of 1,000 draws: variance q (1 - q) / (n density^2), density .0584 / deviation.
  const double tolerance = deviation / .0584 * test::sampling_tolerance(1000, .025 * .975);
  EXPECT_NEAR(accuracy.low, .8 - 1.96 * deviation, tolerance);
  EXPECT_NEAR(accuracy.high, .8 + 1.96 * deviation, tolerance);
}

TEST(Bootstrap, SameSeedSameBitsAndMissingClassIsNaN) {
  const Sample s(40);
  const auto a = metric_intervals(s.prob, s.label, .5, 1, 20);
  const auto b = metric_intervals(s.prob, s.label, .5, 1, 20);
  const auto c = metric_intervals(s.prob, s.label, .5, 2, 20);
  EXPECT_EQ(a[7].low, b[7].low);
  EXPECT_EQ(a[7].high, b[7].high);
  EXPECT_NE(a[7].high, c[7].high);
  const auto one = metric_intervals(Doubles{.2, .3}, Ints{0, 0}, .5, 1, 20);
  EXPECT_EQ(one[0].low, wilson_interval(1, 2).low);
  EXPECT_TRUE(std::isnan(one[3].low)) << "the recall of no fakes";
  EXPECT_TRUE(std::isnan(one[7].low) && std::isnan(one[7].high));
}

TEST(Threshold, HalfWayBetweenScoresAndNearestToTheMiddle) {
  const ThresholdRule balanced;
  EXPECT_EQ(choose_threshold(Doubles{.25, .75}, Ints{0, 1}, balanced), .5);
  EXPECT_EQ(choose_threshold(Doubles{.25, .3125}, Ints{0, 1}, balanced), .28125);
  // .1|.2 and .8|.9 are equally good (3/4 each); the middle ones are not.
  EXPECT_EQ(choose_threshold(Doubles{0, .25, .5, .875}, Ints{0, 1, 0, 1}, balanced), .6875);
  // Nothing parts equal scores: all or none are fake, and none lies nearer to the middle.
  EXPECT_EQ(choose_threshold(Doubles{.25, .25}, Ints{0, 1}, balanced), .625);
  EXPECT_EQ(choose_threshold(Doubles{1, 1}, Ints{0, 1}, balanced), 1);
  // A real at 1 is fake at every threshold: as few others as possible.
  EXPECT_EQ(choose_threshold(Doubles{1, .5}, Ints{0, 1}, parse_threshold_rule("fpr@0")), .75);
  // Neighbouring numbers: nothing lies between, the upper one is the threshold.
  const double next = std::nextafter(.25, 1);
  EXPECT_EQ(choose_threshold(Doubles{.25, next}, Ints{0, 1}, balanced), next);
}

TEST(Threshold, RulesHaveNames) {
  for (const char* name : {"balanced-accuracy", "f1", "eer", "fpr@0.05", "fpr@0"})
    EXPECT_EQ(to_string(parse_threshold_rule(name)), name);
  for (const char* name : {"", "F1", "fpr", "fpr@", "fpr@1", "fpr@-0.1", "fpr@nan", "fpr@0.1x"})
    EXPECT_THROW(parse_threshold_rule(name), UsageError) << name;
}

TEST(Temperature, OneWhereNothingCanBeFitted) {
  EXPECT_EQ(fit_temperature(Doubles{-3, 2, -1, 4}, Ints{0, 1, 0, 1}), 1);  // parted by 0
  EXPECT_EQ(fit_temperature(Doubles{3, -2}, Ints{0, 1}), 1);               // upside down
  EXPECT_EQ(fit_temperature(Doubles{0, 0}, Ints{0, 1}), 1);
  EXPECT_EQ(fit_temperature(Doubles{-1, 2}, Ints{1, 1}), 1);
}

TEST(Temperature, UndoesAScale) {
  // Of ten pictures at each logit, as many are fake as sigmoid(logit / 3) says: ln 4 -> 8.
  Doubles logits;
  Ints label;
  for (int i = 0; i < 20; ++i) {
    logits.push_back((i < 10 ? 3 : -3) * std::log(4.0));
    label.push_back(i % 10 < 8 ? i < 10 : i >= 10);
  }
  EXPECT_NEAR(fit_temperature(logits, label), 3, test::tolerance<double>(20, 3 * 3 * 4));
}

}  // namespace
}  // namespace dfengine
