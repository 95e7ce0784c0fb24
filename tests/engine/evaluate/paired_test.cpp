// DeLong's test against goldens of an independent implementation, the bootstrap against DeLong.
#include "engine/evaluate/metrics/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

std::vector<nlohmann::json> cases() {
  std::ifstream stream(test::golden_folder() / "paired.json");
  return nlohmann::json::parse(stream).at("cases");
}

PairedComparison compare(const nlohmann::json& c, Index resamples = 1) {
  const auto a = c.at("first").get<std::vector<double>>(),
             b = c.at("second").get<std::vector<double>>();
  return compare_paired({a, 0.5}, {b, 0.4}, c.at("label").get<std::vector<int>>(), 1, resamples);
}

TEST(Paired, DeLongEqualsTheGoldens) {
  for (const nlohmann::json& c : cases()) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const PairedComparison got = compare(c);
    const double n = static_cast<double>(got.n), allowed = test::tolerance<double>(n * n, 1);
    EXPECT_NEAR(got.auc[0], c.at("auc").at(0).get<double>(), allowed);
    EXPECT_NEAR(got.auc[1], c.at("auc").at(1).get<double>(), allowed);
    EXPECT_NEAR(got.standard_error, c.at("standard_error").get<double>(), std::sqrt(allowed) / n);
    const double z = c.at("z");
    EXPECT_NEAR(got.z, z, test::tolerance<double>(n * n, 1 + std::abs(z)) * n);
    EXPECT_NEAR(got.p, c.at("p").get<double>(), test::tolerance<double>(n * n, 1) * n);
  }
}

TEST(Paired, TheBootstrapSpreadsAsDeLongSays) {
  constexpr Index kResamples = 2000;
  for (const nlohmann::json& c : cases()) {
    if (c.at("label").size() < 100) continue;
    SCOPED_TRACE(c.at("name").get<std::string>());
    const PairedComparison got = compare(c, kResamples);
    const double width = got.auc_resampled.high - got.auc_resampled.low;
    const double wanted = got.auc_difference.high - got.auc_difference.low;
    // An estimate of a spread from n pictures of each class varies by about 1 / sqrt(n), and one
    // from resamples by less.
    const double relative = 2 / std::sqrt(static_cast<double>(got.n) / 2);
    EXPECT_NEAR(width / wanted, 1, relative);
    EXPECT_EQ(compare(c, kResamples).auc_resampled.low, got.auc_resampled.low);
  }
}

TEST(Paired, EqualDetectorsDoNotDiffer) {
  const std::vector<double> prob = {0.1, 0.6, 0.3, 0.9};
  const std::vector<int> label = {0, 0, 1, 1};
  const PairedComparison got = compare_paired({prob, 0.5}, {prob, 0.5}, label, 0, 50);
  EXPECT_EQ(got.auc[0], 0.75);
  EXPECT_EQ(got.standard_error, 0);
  EXPECT_EQ(got.p, 1);
  EXPECT_EQ(got.auc_resampled.low, 0);
  EXPECT_EQ(got.accuracy_resampled.high, 0);
}

// All fakes above all reals, and the other way around: no picture tells of a spread.
TEST(Paired, WithoutASpreadThereIsNoTestUnlessTheAucsAreEqual) {
  const std::vector<double> right = {0.1, 0.2, 0.8, 0.9}, wrong = {0.9, 0.8, 0.2, 0.1},
                            surer = {0.05, 0.1, 0.9, 0.95};
  const std::vector<int> label = {0, 0, 1, 1};
  const PairedComparison far = compare_paired({right, 0.5}, {wrong, 0.5}, label, 0, 20);
  EXPECT_EQ(far.auc[1] - far.auc[0], -1);
  EXPECT_EQ(far.standard_error, 0);
  for (const double figure : {far.z, far.p, far.auc_difference.low, far.auc_resampled.high})
    EXPECT_TRUE(std::isnan(figure));
  const nlohmann::json written = nlohmann::json::parse(to_json(far).dump());
  for (const char* key : {"z", "p"}) EXPECT_TRUE(written.at("delong").at(key).is_null()) << key;
  EXPECT_NE(to_text(far).find("no test"), std::string::npos) << to_text(far);
  EXPECT_EQ(to_text(far).find("nan"), std::string::npos) << to_text(far);
  const PairedComparison same = compare_paired({right, 0.5}, {surer, 0.5}, label, 0, 20);
  EXPECT_EQ(same.p, 1);
  EXPECT_EQ(same.z, 0);
  EXPECT_EQ(same.auc_difference.high, 0);
}

TEST(Paired, RefusesWhatCannotBeCompared) {
  const std::vector<double> four = {0.1, 0.6, 0.3, 0.9}, three = {0.1, 0.2, 0.3};
  const std::vector<int> label = {0, 0, 1, 1}, lone = {0, 0, 0, 1};
  EXPECT_THROW(compare_paired({four, 0.5}, {three, 0.5}, label, 0, 1), ShapeError);
  EXPECT_THROW(compare_paired({four, 0.5}, {four, 0.5}, lone, 0, 1), DataError);
  EXPECT_THROW(compare_paired({four, 0.5}, {four, 0.5}, label, 0, 0), UsageError);
}

}  // namespace
}  // namespace dfengine
