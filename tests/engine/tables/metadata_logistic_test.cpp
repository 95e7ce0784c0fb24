// Logistic regression against scikit-learn, cross-validation folds, the binomial bound against
// scipy.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/tables/metadata/cascade.h"
#include "engine/tables/metadata/logistic.h"
#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using Labels = std::vector<int>;

double total_size(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += std::abs(v);
  return sum;
}

TEST(MetadataLogistic, EqualToScikitLearn) {
  const auto cases = test::golden("metadata_logistic.json")["cases"];
  ASSERT_GT(cases.size(), 10u);
  for (const auto& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Matrix x{c["rows"], c["cols"], c["x"]};
    const LogisticRegression fit =
        fit_logistic(x, c["label"].get<Labels>(), 1 / c["C"].get<double>());
    const std::vector<double> weights = c["weights"], prob = c["prob"];
    ASSERT_EQ(fit.weights.size(), weights.size());
    const double rounding =
        test::tolerance<double>(static_cast<double>(x.rows), total_size(x.values));
    const double near =
        test::minimum_tolerance(c["gradient"].get<double>() + rounding, c["curvature"]);
    // The promise: 1e-6.
    EXPECT_LE(near, test::decimal_tolerance(6, 1.0));
    for (std::size_t j = 0; j < weights.size(); ++j)
      EXPECT_NEAR(fit.weights[j], weights[j], near) << "weight " << j;
    EXPECT_NEAR(fit.intercept, c["intercept"].get<double>(), near);
    const std::vector<double> logits = fit.logits(x);
    for (std::size_t i = 0; i < prob.size(); ++i) {
      const double reach = 1 + total_size({x.row(static_cast<Index>(i)).begin(),
                                           x.row(static_cast<Index>(i)).end()});
      EXPECT_NEAR(sigmoid(logits[i]), prob[i], near * reach) << "row " << i;
    }
  }
}

TEST(MetadataLogistic, PenaltiesAreEachColumnsOwn) {
  // Halving a column and quartering its penalty changes nothing but the unit of its weight.
  const Matrix x{5, 2, {1, 4, -2, 1, 0.5, -3, 2, 2, -1, 0}};
  Matrix halved = x;
  for (std::size_t i = 1; i < halved.values.size(); i += 2) halved.values[i] /= 2;
  const Labels label = {1, 0, 0, 1, 1};
  const auto a = fit_logistic(x, label, std::vector<double>{1.0, 2.0});
  const auto b = fit_logistic(halved, label, std::vector<double>{1.0, 0.5});
  const double near = test::tolerance<double>(10, total_size(x.values));
  EXPECT_NEAR(a.weights[0], b.weights[0], near);
  EXPECT_NEAR(2 * a.weights[1], b.weights[1], near);
  EXPECT_NEAR(a.intercept, b.intercept, near);
  EXPECT_NE(a.weights[1], fit_logistic(x, label, 1.0).weights[1]);
}

TEST(MetadataLogistic, WithoutColumnsTheShareOfFakes) {
  const auto fit = fit_logistic(Matrix{4, 0, {}}, Labels{1, 1, 1, 0});
  EXPECT_NEAR(fit.intercept, std::log(3.0), test::tolerance<double>(4, 4));
}

TEST(MetadataLogistic, RefusesWhatHasNoMinimum) {
  const Matrix x{2, 1, {0, 1}};
  EXPECT_THROW(fit_logistic(x, Labels{1, 1}), DataError);
  EXPECT_THROW(fit_logistic(x, Labels{0, 0}), DataError);
  EXPECT_THROW(fit_logistic(x, Labels{0, 1, 1}), ShapeError);
  EXPECT_THROW(fit_logistic(x, Labels{0, 1}, 0.0), UsageError);
  EXPECT_THROW(
      fit_logistic(Matrix{2, 1, {0, std::numeric_limits<double>::infinity()}}, Labels{0, 1}),
      DataError);
  EXPECT_THROW(
      fit_logistic(Matrix{2, kMaxFeatures + 1, std::vector<double>(2 * (kMaxFeatures + 1), 1.0)},
                   Labels{0, 1}),
      DataError);
  EXPECT_THROW(fit_logistic(x, Labels{0, 1}).logit(std::vector<double>{1, 2}), ShapeError);
}

TEST(MetadataLogistic, LogLossDoesNotOverflow) {
  EXPECT_EQ(log_loss(1e4, 1), 0.0);
  EXPECT_EQ(log_loss(1e4, 0), 1e4);
  EXPECT_EQ(log_loss(-1e4, 1), 1e4);
  EXPECT_NEAR(log_loss(0, 1), std::log(2.0), test::tolerance<double>(1, 1));
}

TEST(MetadataLogistic, FoldsDealOutEachClassEvenly) {
  Labels label(23, 0);
  for (std::size_t i : {2u, 5u, 6u, 11u, 19u, 20u, 22u}) label[i] = 1;
  const auto fold = stratified_folds(label, 5, 1);
  for (int k = 0; k < 5; ++k) {
    Index count[2] = {0, 0};
    for (std::size_t i = 0; i < label.size(); ++i)
      if (fold[i] == k) ++count[label[i]];
    EXPECT_GE(count[0], 3);
    EXPECT_LE(count[0], 4);
    EXPECT_GE(count[1], 1);
    EXPECT_LE(count[1], 2);
  }
  EXPECT_EQ(fold, stratified_folds(label, 5, 1));
  EXPECT_NE(fold, stratified_folds(label, 5, 2));
}

TEST(MetadataLogistic, RowsAreScoredByFitsWithoutThem) {
  const Matrix x{6, 1, {-1, -2, 1, 2, -3, 3}};
  const Labels label = {0, 0, 1, 1, 1, 0};  // the last two are alone against their own fold
  const std::vector<int> fold = {0, 1, 0, 1, 2, 2};
  const std::vector<double> penalty = {1};
  const auto out = out_of_fold_logits(x, label, fold, penalty);
  const auto by_hand = fit_logistic(Matrix{4, 1, {-1, -2, 1, 2}}, Labels{0, 0, 1, 1}, penalty);
  EXPECT_EQ(out[4], by_hand.logit(x.row(4)));
  EXPECT_EQ(out[5], by_hand.logit(x.row(5)));
  EXPECT_LT(out[4], 0);
  EXPECT_GT(out[5], 0);
}

TEST(MetadataCascade, ErrorBoundEqualsScipy) {
  const auto golden = test::golden("metadata_logistic.json");
  for (const auto& c : golden.at("error_bounds")) {
    SCOPED_TRACE(c.dump());
    const Index errors = c["errors"], n = c["n"];
    // The sum of the probabilities has errors + 1 terms, each from as many factors.
    const auto terms = static_cast<double>((errors + 1) * (errors + 1));
    EXPECT_NEAR(error_upper_bound(errors, n, c["risk"]), c["bound"].get<double>(),
                test::tolerance<double>(terms, 1.0));
  }
  EXPECT_EQ(error_upper_bound(0, 0, 0.05), 1.0);
  EXPECT_EQ(error_upper_bound(7, 7, 0.05), 1.0);
  EXPECT_THROW(error_upper_bound(8, 7, 0.05), UsageError);
  EXPECT_THROW(error_upper_bound(0, 7, 0.0), UsageError);
}

}  // namespace
}  // namespace dfengine
