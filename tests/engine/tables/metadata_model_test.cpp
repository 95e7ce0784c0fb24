// Metadata models in files and in model files; hybrid and cascade on data whose answer is known.
#include "engine/tables/metadata/metadata_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/data/digest.h"
#include "engine/evaluate/metrics/calibration.h"
#include "engine/synth/synth.h"
#include "engine/tables/metadata/cascade.h"
#include "engine/tables/metadata/comparison.h"
#include "engine/tables/metadata/hybrid.h"
#include "engine/tables/metadata/table_scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;

const std::vector<std::string> kColumns = {"size", "device", "taken"};

// Rows with an image score of AUC about .92 beside columns that tell something or nothing.
struct Rows {
  CsvTable table{kColumns, {}, {}};
  std::vector<int> label;
  std::vector<double> image;
};

Rows make_rows(int count, bool informative, std::uint64_t seed) {
  Rows r;
  Random random(seed, RandomStream::Synth, informative ? 1 : 0);
  for (int i = 0; i < count; ++i) {
    const int label = static_cast<int>(random.below(2));
    const int seen = informative ? label : static_cast<int>(random.below(2));
    r.label.push_back(label);
    r.image.push_back(random.normal() + (label == 1 ? 1 : -1));
    const double size = random.normal() + (seen == 1 ? 1.2 : 0);
    const bool camera = random.uniform() < (seen == 1 ? 0.3 : 0.7);
    const std::string device = (camera ? "camera" : "phone") + std::to_string(random.below(4));
    const std::string taken = "2024-0" + std::to_string(1 + random.below(9)) + "-1" +
                              std::to_string(random.below(10)) + " 12:00:00";
    r.table.rows.push_back({std::to_string(size), device, taken});
    r.table.lines.push_back(i + 2);
  }
  return r;
}

Model small_model() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  return make_model(config, 1);
}

HybridFit fit(const Rows& r) {
  return fit_hybrid(r.table, r.label, r.image, kColumns, "t");
}

double image_auc(const Rows& r) {
  return roc_auc(r.image, r.label);
}
double hybrid_auc(const HybridModel& h, const Rows& r) {
  return roc_auc(h.logits(r.image, r.table, "t"), r.label);
}

// The criterion: on informative metadata every seed gains at least kLeastGain of AUC; on noise no
// seed loses more than kMostLoss, and on average not more than a tenth of it.
constexpr int kSeeds = 12;
constexpr double kLeastGain = 0.015, kMostLoss = 0.004;

TEST(MetadataHybrid, GainsWhereMetadataTells) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const HybridFit f = fit(make_rows(300, true, seed));
    const Rows unseen = make_rows(4000, true, 1000 + seed);
    EXPECT_TRUE(f.model.uses_metadata());
    EXPECT_LT(f.hybrid_loss, f.image_loss);
    EXPECT_GT(hybrid_auc(f.model, unseen), image_auc(unseen) + kLeastGain);
  }
}

TEST(MetadataHybrid, LosesNothingOnNoise) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const HybridFit f = fit(make_rows(300, false, seed));
    const Rows unseen = make_rows(4000, false, 1000 + seed);
    const double loss = image_auc(unseen) - hybrid_auc(f.model, unseen);
    EXPECT_LE(loss, kMostLoss);
    sum += loss;
  }
  EXPECT_LE(sum / kSeeds, kMostLoss / 10);
}

TEST(MetadataHybrid, WithoutGainTheImageScoreIsUnchanged) {
  const Rows r = make_rows(100, false, 2);
  const HybridFit f = fit(r);
  ASSERT_FALSE(f.model.uses_metadata());
  EXPECT_EQ(f.model.logits(r.image, r.table, "t"), r.image);
  EXPECT_FALSE(fit_hybrid(r.table, r.label, r.image, {}, "t").model.uses_metadata());
}

TEST(MetadataHybrid, RefusesTooFewRowsAndWrongSizes) {
  Rows r = make_rows(40, true, 1);
  std::fill(r.label.begin(), r.label.end(), 0);
  r.label[3] = 1;
  EXPECT_THROW(fit(r), DataError);
  const HybridFit f = fit(make_rows(300, true, 1));
  EXPECT_THROW(f.model.logits({1, 2}, r.table, "t"), ShapeError);
}

// Metadata whose probabilities are right: a row of probability p is fake with chance p.
void draw(int count, std::uint64_t seed, std::vector<double>& prob, std::vector<int>& label) {
  Random random(seed, RandomStream::Synth, 7);
  prob.clear();
  label.clear();
  for (int i = 0; i < count; ++i) {
    prob.push_back(sigmoid(3.5 * random.normal()));
    label.push_back(random.uniform() < prob.back() ? 1 : 0);
  }
}

// Mean chance of being wrong among the rows that a cascade calls `side`; 0 when there are none.
double true_error(const Cascade& c, const std::vector<double>& prob, int side) {
  double sum = 0, n = 0;
  for (double p : prob) {
    if (c.decide(p) != side) continue;
    sum += side == 0 ? p : 1 - p;
    n += 1;
  }
  return n > 0 ? sum / n : 0;
}

TEST(MetadataCascade, KeepsItsBudgetAsOftenAsItSays) {
  constexpr int kTrials = 200;
  constexpr double kBudget = 0.05;
  std::vector<double> everyone, prob;
  std::vector<int> ignored, label;
  draw(20000, 99, everyone, ignored);
  Index broken = 0;
  double decided = 0;
  for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
    draw(1000, trial, prob, label);
    const Cascade c = choose_cascade(prob, label, kBudget);
    broken += true_error(c, everyone, 0) > kBudget || true_error(c, everyone, 1) > kBudget;
    decided += evaluate_cascade(c, everyone, ignored).decided() / kTrials;
  }
  const double chance = 1 - kCascadeConfidence;
  EXPECT_LE(static_cast<double>(broken),
            kTrials * chance + test::count_tolerance(kTrials, chance, 2.0));
  EXPECT_GT(decided, 0.2);
  EXPECT_LT(decided, 0.7);
}

TEST(MetadataCascade, ThresholdsByHand) {
  // 400 rows in eight ties of 50; the two nearest the middle are half wrong. At a risk of .025 100
  // rows without an error bound it by 1 - .025^(1/100) = .036, 150 by .024.
  std::vector<double> prob;
  std::vector<int> label;
  for (int tie = 0; tie < 8; ++tie)
    for (int i = 0; i < 50; ++i) {
      prob.push_back(0.1 + 0.1 * tie + (tie > 3 ? 0.1 : 0));
      label.push_back(tie == 3 || tie == 4 ? i % 2 : tie > 4 ? 1 : 0);
    }
  const Cascade c = choose_cascade(prob, label, 0.04);
  ASSERT_TRUE(c.real_below && c.fake_above);
  EXPECT_EQ(*c.real_below, prob[149]);
  EXPECT_EQ(*c.fake_above, prob[250]);
  EXPECT_EQ(c.decide(prob[149]), 0);
  EXPECT_EQ(c.decide(prob[150]), -1);
  EXPECT_EQ(c.decide(prob[250]), 1);
  const Cascade strict = choose_cascade(prob, label, 0.02);
  EXPECT_FALSE(strict.real_below || strict.fake_above);
  EXPECT_EQ(strict.decide(0.0), -1);
  CascadeReport r = evaluate_cascade(c, prob, label);
  EXPECT_EQ(r.called_real, 150);
  EXPECT_EQ(r.called_fake, 150);
  EXPECT_EQ(r.errors, 0);
  EXPECT_EQ(r.decided(), 0.75);
  r.metadata_seconds = 1;
  r.image_seconds = 8;
  EXPECT_EQ(r.seconds(), 3.0);
  EXPECT_THROW(choose_cascade(prob, label, 0.5), UsageError);
  EXPECT_THROW(choose_cascade(prob, {}, 0.1), ShapeError);
}

TEST(MetadataCascade, EmptyAndOneSided) {
  const Cascade c = choose_cascade({}, {}, 0.1);
  EXPECT_FALSE(c.real_below || c.fake_above);
  EXPECT_EQ(evaluate_cascade(c, {}, {}).decided(), 0.0);
  const std::vector<double> prob(500, 0.9);
  const Cascade fakes = choose_cascade(prob, std::vector<int>(500, 1), 0.05);
  EXPECT_FALSE(fakes.real_below);
  EXPECT_EQ(fakes.fake_above, 0.9);
}

TEST(MetadataModel, RoundTripsGiveTheSameBits) {
  const TempDir dir;
  const Rows r = make_rows(300, true, 5);
  const MetadataModel m = fit_metadata(r.table, r.label, kColumns, "t");
  save_metadata_model(dir.path() / "metadata.json", m);
  const MetadataModel back = load_metadata_model(dir.path() / "metadata.json");
  EXPECT_EQ(back.logits(r.table, "t"), m.logits(r.table, "t"));
  EXPECT_EQ(back.trained_on, digest(r.table));

  Model model = small_model();
  const HybridFit hybrid = fit(r);
  Cascade cascade{m, 0.1, {}, 0.02, 0.95};
  model.notes[kHybridEntry] = to_note(hybrid.model);
  model.notes[kCascadeEntry] = to_note(cascade);
  save_model(dir.path() / "m.safetensors", model);
  const Model loaded = load_detector(dir.path() / "m.safetensors");
  const TableModels t = read_table_models(loaded.notes, "m");
  ASSERT_TRUE(t.hybrid && t.cascade);
  EXPECT_EQ(t.hybrid->logits(r.image, r.table, "t"), hybrid.model.logits(r.image, r.table, "t"));
  EXPECT_EQ(t.cascade->real_below, 0.1);
  EXPECT_EQ(t.cascade->fake_above, std::nullopt);
  EXPECT_EQ(t.cascade->metadata.logits(r.table, "t"), m.logits(r.table, "t"));
  EXPECT_FALSE(read_table_models({}, "m").hybrid);
}

TEST(MetadataModel, DamagedFilesAreRefused) {
  const TempDir dir;
  const Rows r = make_rows(60, true, 5);
  const std::string good = to_note({1, fit_metadata(r.table, r.label, kColumns, "t")});
  ASSERT_TRUE(read_table_models({{kHybridEntry, good}}, "m").hybrid);
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json j = nlohmann::json::parse(good);
    j[nlohmann::json::json_pointer(pointer)] = value;
    return j.dump();
  };
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), std::string("null"), with("/image_weight", "x"),
        with("/metadata/weights", {1, 2}), with("/metadata/columns", 3),
        with("/metadata/columns/0/type", "colour"), with("/metadata/columns/0/std", {0}),
        with("/metadata/columns/0/mean", {1, 2}), with("/metadata/columns/0/rare", true),
        with("/metadata/intercept", nullptr), with("/metadata/columns/1/levels", {1})}) {
    const std::string text = thrown_text([&] {
      read_table_models({{kHybridEntry, bad}}, "m.safetensors");
    });
    EXPECT_EQ(text.find("m.safetensors: metadata 'metadata.hybrid': "), 0u) << bad << "\n" << text;
    EXPECT_THROW(load_metadata_model(dir.write("bad.json", bad)), ModelFileError);
  }
  EXPECT_THROW(load_metadata_model(dir.path() / "absent.json"), ModelFileError);
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  const auto file = dir.write(
      "deep.json", R"({"format": "dfengine metadata 1", "digest": "", "metadata": )" + deep + "}");
  EXPECT_NE(thrown_text([&] { load_metadata_model(file); }).find("nested deeper"),
            std::string::npos);
}

TEST(MetadataScores, HalfMeansWhatTheThresholdMeant) {
  const std::vector<double> logits = {-80, -2, -1, 3, 50, 60};
  for (double threshold : {0.0, 1e-30, 0.2, 1.0}) {
    const std::vector<double> moved = around_half(logits, threshold);
    EXPECT_EQ(std::ranges::adjacent_find(moved, std::ranges::greater_equal()), moved.end());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      EXPECT_TRUE(std::isfinite(moved[i])) << threshold;
      EXPECT_EQ(sigmoid(moved[i]) >= 0.5, sigmoid(logits[i]) >= threshold) << logits[i];
    }
  }
}

// A drawn picture that exists, and a decided row whose picture does not: it must not be opened.
TEST(MetadataScores, DecidedRowsNeedNoPicture) {
  const TempDir dir;
  const auto jpeg = draw_synth_jpeg(1, 1, 96, SynthClass::Real);
  dir.write("a.jpg", {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()});
  const CsvTable fitted = parse_csv("score,path\n1,a\n2,b\n3,c\n4,d\n", "t");
  TableModels detectors;
  detectors.cascade =
      Cascade{fit_metadata(fitted, {0, 0, 1, 1}, {"score"}, "t"), 0.3, 0.7, 0.1, 0.95};
  Model model = small_model();
  ThreadPool pool(1);
  const CsvTable table = parse_csv("path,score\nnone.jpg,-90\na.jpg,2.5\nnone.jpg,90\n", "t");
  const auto scores = score_table(model, detectors, pool, table, dir.path(), "t");
  ASSERT_EQ(scores.size(), 3u);
  using Source = TableScore::Source;
  EXPECT_EQ(scores[0].source, Source::Metadata);
  EXPECT_EQ(scores[0].verdict, 0);
  EXPECT_EQ(scores[2].source, Source::Metadata);
  EXPECT_EQ(scores[2].verdict, 1);
  EXPECT_EQ(scores[1].source, Source::Image);
  Dataset one{dir.path(), "", {{"a.jpg", 0}}};
  const double image = sigmoid(image_logits(model, pool, one)[0]);
  EXPECT_EQ(scores[1].prob, image);
  detectors.hybrid = HybridModel{2, detectors.cascade->metadata};
  const auto stacked = score_table(model, detectors, pool, table, dir.path(), "t");
  EXPECT_EQ(stacked[1].source, Source::Hybrid);
  EXPECT_NE(stacked[1].prob, image);
  // Without the cascade every row's picture is asked for; the others are still answered.
  detectors.cascade.reset();
  const auto all = score_table(model, detectors, pool, table, dir.path(), "t");
  EXPECT_EQ(all[1].prob, stacked[1].prob);
  EXPECT_EQ(all[1].error, "");
  for (std::size_t missing : {0, 2})
    EXPECT_NE(all[missing].error.find("none.jpg"), std::string::npos) << all[missing].error;
  EXPECT_THROW(score_table(model, detectors, pool, parse_csv("score\n1\n", "t"), dir.path(), "t"),
               DataError);
}

TEST(MetadataComparison, TablesForPeopleAndFiles) {
  const auto row = compare("a,b", {2, -1, 0.5}, {1, 0, 0}, 0.5);
  EXPECT_EQ(comparison_csv({row}),
            "detector,n,accuracy,precision,recall,f1,roc_auc\n"
            "\"a,b\",3,0.666667,0.500000,1.000000,0.666667,1.000000\n");
  EXPECT_NE(comparison_text({row}).find("a,b  0.6667    0.5000     1.0000  0.6667  1.0000\n"),
            std::string::npos);
}

TEST(MetadataComparison, RanksWhereProbabilitiesTieAtOne) {
  EXPECT_EQ(compare("sure", {60, 50, -1}, {1, 0, 0}, 0.5).metrics.roc_auc, 1);
}

}  // namespace
}  // namespace dfengine
