// Every metric against scikit-learn and SciPy: the committed cases, or those of the file that
// DFENGINE_METRICS_CASES names (tests/golden/check_metrics.py), and then the greatest differences.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/evaluate/metrics/classification.h"
#include "engine/evaluate/metrics/threshold.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using nlohmann::json;

class MetricsGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* named = std::getenv("DFENGINE_METRICS_CASES");
    const std::filesystem::path path = named ? named : test::golden_folder() / "metrics.json";
    std::ifstream stream(path);
    cases_ = json::parse(stream).at("cases");
    ASSERT_GT(cases_.size(), 10u);
    print_ = named != nullptr;
  }

  void TearDown() override {
    if (!print_) return;
    for (const auto& [what, difference] : greatest_)
      fmt::print("{:32} {:6} values  max difference {:.3g}\n", what, compared_[what], difference);
  }

  // null stands for NaN, except where `at_infinity`.
  void near(const std::string& what, double value, const json& expected, double magnitude = 1) {
    ++compared_[what];
    if (expected.is_null()) {
      EXPECT_TRUE(std::isnan(value)) << what << " is " << value;
      return;
    }
    const double wanted = expected;
    const double n = static_cast<double>(prob_.size());
    EXPECT_NEAR(value, wanted,
                test::tolerance<double>(n, std::max({1.0, std::abs(wanted), magnitude})))
        << what;
    double& greatest = greatest_[what];
    greatest = std::max(greatest, std::abs(value - wanted));
  }

  void all_near(const std::string& what, const std::vector<double>& values, const json& expected) {
    ASSERT_EQ(values.size(), expected.size()) << what;
    for (std::size_t i = 0; i < values.size(); ++i) near(what, values[i], expected[i]);
  }

  void use(const json& c) {
    prob_ = c.at("prob").get<std::vector<double>>();
    label_ = c.at("label").get<std::vector<int>>();
  }

  json cases_;
  std::vector<double> prob_;
  std::vector<int> label_;
  bool print_ = false;
  std::map<std::string, double> greatest_;
  std::map<std::string, Index> compared_;
};

TEST_F(MetricsGolden, Figures) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    const Metrics m = compute_metrics(prob_, label_, c["threshold"]);
    EXPECT_EQ(m.n, std::ssize(prob_));
    EXPECT_EQ(m.threshold, c["threshold"].get<double>());
    const Confusion& k = m.confusion;
    EXPECT_EQ((std::vector<Index>{k.tn, k.fp, k.fn, k.tp}),
              c["confusion"].get<std::vector<Index>>());
    for (const MetricField& f : metric_fields()) near(f.key, m.*f.value, c.at(f.key));
  }
}

TEST_F(MetricsGolden, ReportByClass) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    const ClassReport r = class_report(compute_metrics(prob_, label_, c["threshold"]).confusion);
    const ClassReport::Row rows[] = {r.by_label[0], r.by_label[1], r.macro, r.weighted};
    for (std::size_t i = 0; i < std::size(rows); ++i) {
      const json& row = c["report"][i];
      near("class report", rows[i].precision, row[0]);
      near("class report", rows[i].recall, row[1]);
      near("class report", rows[i].f1, row[2]);
      EXPECT_EQ(rows[i].support, row[3].get<Index>());
    }
  }
}

TEST_F(MetricsGolden, Curves) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    const std::vector<RankStep> steps = rank_scores(prob_, label_);
    RocCurve roc = roc_curve(steps);
    all_near("ROC curve", roc.fpr, c["roc"][0]);
    all_near("ROC curve", roc.tpr, c["roc"][1]);
    ASSERT_EQ(roc.threshold.at(0), std::numeric_limits<double>::infinity());
    roc.threshold[0] = std::nan("");  // as JSON writes it
    all_near("ROC curve", roc.threshold, c["roc"][2]);
    const PrecisionRecallCurve pr = precision_recall_curve(steps);
    all_near("precision-recall curve", pr.precision, c["pr"][0]);
    all_near("precision-recall curve", pr.recall, c["pr"][1]);
    all_near("precision-recall curve", pr.threshold, c["pr"][2]);
  }
}

TEST_F(MetricsGolden, ReliabilityBins) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    std::vector<double> share_fake, mean_prob;
    for (const ReliabilityBin& b : reliability(prob_, label_)) {
      if (b.n == 0) continue;
      share_fake.push_back(b.share_fake);
      mean_prob.push_back(b.mean_prob);
    }
    all_near("reliability", share_fake, c["bins"][0]);
    all_near("reliability", mean_prob, c["bins"][1]);
  }
}

TEST_F(MetricsGolden, Temperature) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    const auto logits = c["logits"].get<std::vector<double>>();
    const double t = fit_temperature(logits, label_);
    // The derivative by b = 1 / T is off by rounding times its terms; its slope turns that into an
    // error of b, and T^2 into one of T.
    double terms = 0, slope = 0;
    for (const double z : logits) {
      const double p = sigmoid(z / t);
      terms += std::abs(z);
      slope += p * (1 - p) * z * z;
    }
    near("temperature", t, c["temperature"], t == 1 ? 1 : t * t * terms / slope);
  }
}

TEST_F(MetricsGolden, ChosenThresholdReachesTheBestFigure) {
  for (const json& c : cases_) {
    SCOPED_TRACE(c["name"].get<std::string>());
    use(c);
    if (c["worth"].is_null()) {
      EXPECT_EQ(choose_threshold(prob_, label_, {}), 0.5);
      continue;
    }
    for (const auto& [name, best] : c["worth"].items()) {
      const ThresholdRule rule = parse_threshold_rule(name);
      const Metrics m = compute_metrics(prob_, label_, choose_threshold(prob_, label_, rule));
      const Confusion& k = m.confusion;
      const double fpr = static_cast<double>(k.fp) / static_cast<double>(k.fp + k.tn);
      const bool capped = rule.goal == ThresholdRule::Goal::Fpr;
      const bool eer = rule.goal == ThresholdRule::Goal::Eer;
      // Scores of 1 are fake at every threshold that a file may hold.
      if ((capped || eer) && *std::ranges::max_element(prob_) == 1) continue;
      if (capped) {
        EXPECT_LE(fpr, rule.max_fpr);
      }
      near("threshold " + name,
           capped                                 ? m.recall
           : eer                                  ? std::abs(fpr - (1 - m.recall))
           : rule.goal == ThresholdRule::Goal::F1 ? m.f1
                                                  : m.balanced_accuracy,
           best);
    }
  }
}

}  // namespace
}  // namespace dfengine
