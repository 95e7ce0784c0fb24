// Metrics against scikit-learn.
#include "engine/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "tests/engine/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

TEST(Metrics, EqualToScikitLearn) {
  const auto cases = test::golden("data_metrics.json")["cases"];
  ASSERT_GT(cases.size(), 10u);
  for (const auto& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto prob = c["prob"].get<std::vector<double>>();
    const auto label = c["label"].get<std::vector<int>>();
    const Metrics m = compute_metrics(prob, label, c["threshold"]);
    EXPECT_EQ(m.n, std::ssize(prob));
    EXPECT_EQ(m.threshold, c["threshold"].get<double>());
    EXPECT_EQ(m.confusion.tn, c["tn"].get<Index>());
    EXPECT_EQ(m.confusion.fp, c["fp"].get<Index>());
    EXPECT_EQ(m.confusion.fn, c["fn"].get<Index>());
    EXPECT_EQ(m.confusion.tp, c["tp"].get<Index>());
    const auto near = [&](double value, const char* key) {
      const double expected = c[key];
      const double magnitude = std::max(1.0, std::abs(expected));
      EXPECT_NEAR(value, expected,
                  test::tolerance<double>(static_cast<double>(prob.size()), magnitude))
          << key;
    };
    near(m.accuracy, "accuracy");
    near(m.precision, "precision");
    near(m.recall, "recall");
    near(m.f1, "f1");
    near(m.log_loss, "log_loss");
    if (c["roc_auc"].is_null()) {
      EXPECT_TRUE(std::isnan(m.roc_auc));
    } else {
      near(m.roc_auc, "roc_auc");
    }
  }
}

TEST(Metrics, AucIgnoresOrderOfSamplesAndScaleOfScores) {
  const std::vector<double> prob = {0.1, 0.4, 0.35, 0.8, 0.4}, other = {-4, 40, 3, 1e9, 40};
  const std::vector<int> label = {0, 0, 1, 1, 1};
  // By hand: of 6 pairs, 0.35 beats one, 0.8 two, 0.4 one and a half.
  EXPECT_EQ(roc_auc(prob, label), 4.5 / 6);
  EXPECT_EQ(roc_auc(other, label), 4.5 / 6);
  EXPECT_EQ(roc_auc(std::vector<double>(prob.rbegin(), prob.rend()),
                    std::vector<int>(label.rbegin(), label.rend())),
            4.5 / 6);
}

TEST(Metrics, RefusesBadInput) {
  const std::vector<double> two = {0.5, 0.5}, none;
  const std::vector<int> one = {1}, pair = {0, 1}, empty, odd = {0, 2};
  EXPECT_THROW(compute_metrics(two, one, 0.5), ShapeError);
  EXPECT_THROW(compute_metrics(none, empty, 0.5), ShapeError);
  EXPECT_THROW(roc_auc(none, empty), ShapeError);
  EXPECT_THROW(compute_metrics(two, odd, 0.5), DataError);
  const std::vector<double> nan = {0.5, std::numeric_limits<double>::quiet_NaN()};
  const std::vector<double> outside = {0.5, 1.5};
  EXPECT_THROW(compute_metrics(nan, pair, 0.5), DataError);
  EXPECT_THROW(roc_auc(nan, pair), DataError);
  EXPECT_THROW(compute_metrics(outside, pair, 0.5), DataError);
}

}  // namespace
}  // namespace dfengine
