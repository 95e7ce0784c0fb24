// Figures of parts of a set by hand; answers that are unsure.
#include "engine/evaluate/metrics/groups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/evaluate/stability.h"
#include "engine/evaluate/unsure.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

TEST(Groups, EachHasItsOwnFigures) {
  const std::vector<double> prob = {0.1, 0.6, 0.7, 0.9, 0.2, 0.8, 0.65};
  const std::vector<int> label = {0, 0, 1, 1, 1, 1, 0};
  const std::vector<std::string> group = {"camera",    "camera", "gan", "gan",
                                          "diffusion", "both",   "both"};
  const std::vector<GroupRow> rows = measure_groups(prob, label, group, 0.5);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].group, "both");
  EXPECT_EQ(rows[0].real + rows[0].fake, 2);
  EXPECT_EQ(rows[0].roc_auc, 1);     // .8 above .65, its own pictures alone
  EXPECT_EQ(rows[0].accuracy, 0.5);  // .65 is called fake
  EXPECT_EQ(rows[1].group, "camera");
  // The reals .1 and .6 against all fakes, .7 .9 .2 .8: 7 of 8 pairs.
  EXPECT_EQ(rows[1].roc_auc, 7.0 / 8);
  EXPECT_EQ(rows[1].accuracy, 0.5);
  EXPECT_EQ(rows[2].group, "diffusion");
  // .2 against all reals, .1 .6 .65.
  EXPECT_NEAR(rows[2].roc_auc, 1.0 / 3, std::numeric_limits<double>::epsilon());
  EXPECT_EQ(rows[2].accuracy, 0);
  EXPECT_EQ(rows[2].tpr_at_fpr_1, 0);
  EXPECT_EQ(rows[3].roc_auc, 1);
  EXPECT_EQ(rows[3].tpr_at_fpr_05, 1);
  EXPECT_EQ(mean_of(rows).accuracy, (0.5 + 0.5 + 0 + 1) / 4);
  EXPECT_EQ(worst_of(rows).accuracy, 0);
  EXPECT_EQ(worst_of(rows).roc_auc, rows[2].roc_auc);
  EXPECT_EQ(to_json(rows).at("groups").size(), 4u);
  EXPECT_THROW(measure_groups(prob, label, {}, 0.5), ShapeError);
}

TEST(Groups, WhatIsShownBesideIsNoPartOfMeanAndWorst) {
  std::vector<GroupRow> rows(3);
  const double figures[] = {0.5, 0.75, 0.25};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].roc_auc = rows[i].accuracy = figures[i];
    rows[i].fake = 2;
  }
  rows[2].beside = true;
  EXPECT_EQ(mean_of(rows).accuracy, (0.5 + 0.75) / 2);
  EXPECT_EQ(worst_of(rows).roc_auc, 0.5);
  EXPECT_EQ(worst_of(rows).fake, 4);
  EXPECT_EQ(to_json(rows).at("groups").size(), 3u);
}

TEST(Groups, ASetOfOneClassHasNoAuc) {
  const std::vector<double> prob = {0.1, 0.6};
  const std::vector<int> label = {1, 1};
  const std::vector<std::string> group = {"a", "b"};
  const std::vector<GroupRow> rows = measure_groups(prob, label, group, 0.5);
  EXPECT_TRUE(std::isnan(rows[0].roc_auc));
  EXPECT_TRUE(std::isnan(mean_of(rows).roc_auc));
  EXPECT_EQ(mean_of(rows).accuracy, 0.5);
  EXPECT_NE(to_text(rows).find(" -"), std::string::npos);
}

// Distances .5, 1, 2, 3, 4 from the threshold; the first and third are wrong.
TEST(Unsure, TheMarginLeavesNoMoreErrorsThanAreAccepted) {
  const std::vector<double> logit = {0.5, -1, 2, -3, 4};
  const std::vector<int> label = {0, 0, 0, 0, 1};
  EXPECT_EQ(unsure_margin(logit, label, 0, 0.4), 0);   // 2 of 5
  EXPECT_EQ(unsure_margin(logit, label, 0, 0.34), 1);  // 1 of 4, before 1 of 3
  EXPECT_EQ(unsure_margin(logit, label, 0, 0.25), 1);
  EXPECT_EQ(unsure_margin(logit, label, 0, 0.2), 3);  // none behind 2
  EXPECT_EQ(unsure_margin(logit, label, 0, 0), 3);
  // Nothing is right anywhere.
  const std::vector<int> wrong = {0, 1, 0, 1, 0};
  EXPECT_TRUE(std::isinf(unsure_margin(logit, wrong, 0, 0.1)));
  EXPECT_THROW(unsure_margin({}, {}, 0, 0.1), ShapeError);
  EXPECT_THROW(unsure_margin(logit, label, 0, 1), UsageError);
}

TEST(Unsure, TheBandLeavesThePictureAtItsEndsSure) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  Model model = make_model(config, 1);
  model.temperature = 0.7;
  model.threshold = 0.3;
  Predictions p;
  for (const double logit : {-3.1, -1.7, -0.9, -0.6, -0.4, 0.2, 1.3, 2.2}) {
    p.logit.push_back(logit);
    p.prob.push_back(model.probability(logit));
  }
  p.label = {0, 0, 1, 0, 0, 0, 1, 1};
  for (const double errors : {0.0, 0.13, 0.3}) {
    const UnsureBand band = choose_unsure_band(p, model, errors).value();
    const UnsureCount count = count_unsure(p, band, model.threshold);
    const double margin = unsure_margin(p.logit, p.label, logit_of(0.3, model), errors);
    Index nearer = 0;
    for (const double logit : p.logit) nearer += std::abs(logit - logit_of(0.3, model)) < margin;
    EXPECT_EQ(count.unsure, nearer) << errors;
    EXPECT_LE(static_cast<double>(count.wrong), errors * static_cast<double>(count.sure));
  }
  p.label.assign(p.logit.size(), 0);
  EXPECT_FALSE(choose_unsure_band(p, model, 0.1));  // the surest answers are wrong
}

TEST(Stability, ThePictureStandsFirstAndKeepsItsSize) {
  const Image picture = test::pattern(50, 75);
  PerturbScratch scratch;
  const std::vector<Image> forms = stability_forms(picture, scratch);
  ASSERT_EQ(std::ssize(forms), kStabilityForms);
  EXPECT_EQ(forms[0].rgb, picture.rgb);
  Image again = picture;
  jpeg_recompress({again.rgb.data(), 50, 75}, 75, scratch);
  EXPECT_EQ(forms[1].rgb, again.rgb);
  again = picture;
  rescale({again.rgb.data(), 50, 75}, 0.75, scratch);
  EXPECT_EQ(forms[2].rgb, again.rgb);
  EXPECT_EQ(std::pair(forms[3].h, forms[3].w), std::pair(Index{46}, Index{69}));
  EXPECT_EQ(forms[3].rgb[0], picture.rgb[std::size_t{2 * 75 + 3} * 3]);
  // Too small to lose a border.
  EXPECT_EQ(stability_forms(test::pattern(1, 2), scratch)[3].rgb.size(), 6u);
}

}  // namespace
}  // namespace dfengine
