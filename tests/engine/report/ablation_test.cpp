// The ladder of recipes: what it runs, that it goes on after a stop, what its files say.
#include "engine/train/ablation.h"

#include <gtest/gtest.h>

#include "engine/data/sets/csv.h"
#include "kernels/base/error.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

using nlohmann::json;

class Ablation : public testing::Test {
 protected:
  Ablation() {
    options_.data = test::synth_set();
    options_.weights = scratch_.path() / "weights.safetensors";
    options_.output = scratch_.path() / "ladder";
    options_.seeds = 1;
    options_.epochs = 1;
    options_.threads = 1;
    save_model(options_.weights, make_model(test::tiny_config(), 1));
  }

  // Columns without the seconds.
  static std::vector<std::vector<std::string>> figures(const std::filesystem::path& folder) {
    auto rows = read_csv(folder / "ablation.csv").rows;
    for (auto& row : rows) row.pop_back();
    return rows;
  }

  test::ScratchFolder scratch_;
  AblationOptions options_;
  const std::atomic<bool> never_{false};
};

TEST_F(Ablation, EachRungChangesWhatItSays) {
  const std::vector<Rung> ladder = ablation_ladder(options_);
  ASSERT_EQ(ladder.size(), 5U);
  const auto changed = [&](std::size_t i) {
    std::vector<std::string> keys;
    const json a = to_json(ladder[i - 1].options), b = to_json(ladder[i].options);
    for (const auto& [key, value] : b.items())
      if (a.at(key) != value) keys.push_back(key);
    return keys;
  };
  EXPECT_EQ(changed(1), std::vector<std::string>{"pixels"});
  EXPECT_EQ(changed(3), std::vector<std::string>{"freeze"});
  EXPECT_EQ(changed(4), (std::vector<std::string>{"head_epochs", "lr", "weights"}));
  EXPECT_EQ(ladder[0].options.freeze, 19);
  EXPECT_EQ(ladder[2].options.freeze, 19 - 5);
  for (const Rung& r : ladder) {
    EXPECT_EQ(r.options.width, test::tiny_config().width);
    EXPECT_EQ(r.options.img_size, test::tiny_config().input_size);
  }
}

TEST_F(Ablation, RunsTheRungsThatAreNamed) {
  options_.ladder = LadderKind::Accuracy;
  options_.rungs = {"best", "native"};
  options_.device_config.precision = Precision::Bf16;
  std::vector<std::string> keys;
  for (const Rung& r : ablation_ladder(options_)) {
    keys.push_back(r.key);
    EXPECT_EQ(r.options.device_config.precision, Precision::Bf16);
    EXPECT_EQ(r.options.width, test::tiny_config().width);
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"native", "best"}));
  options_.rungs = {"ema"};
  EXPECT_THROW(ablation_ladder(options_), UsageError);
}

TEST_F(Ablation, GoesOnWhereItStoppedAndMixesNoSettings) {
  const auto whole = ablate(options_, {}, never_);
  ASSERT_EQ(whole.size(), 5U);
  for (const char* file : {"ablation.md", "ablation.json", "ablation.svg"})
    EXPECT_FALSE(test::slurp(options_.output / file).empty()) << file;
  for (const AblationRun& run : whole) EXPECT_EQ(run.test.n, 6);

  AblationOptions parts = options_;
  parts.output = scratch_.path() / "parts";
  std::atomic<bool> stop{false};
  int steps = 0;
  AblationObserver observer;
  observer.train.step = [&](const TrainObserver::Progress&) { stop = ++steps == 5; };
  EXPECT_EQ(ablate(parts, observer, stop).size(), 2U);  // the third run has taken 1 of 2 steps
  EXPECT_EQ(figures(parts.output).size(), 2U);
  int begun = 0;
  observer.train.step = {};
  observer.begin = [&](const Rung&, std::uint64_t, int) { ++begun; };
  EXPECT_EQ(ablate(parts, observer, never_).size(), 5U);
  EXPECT_EQ(begun, 3);
  EXPECT_EQ(figures(parts.output), figures(options_.output));

  parts.epochs = 2;
  EXPECT_THROW(ablate(parts, {}, never_), UsageError);
}

// The weights' width is in the checkpoint; the rung must have it, too.
TEST_F(Ablation, TheAccuracyLadderKeepsFinishedRuns) {
  options_.ladder = LadderKind::Accuracy;
  options_.rungs = {"resized"};
  ASSERT_EQ(ablate(options_, {}, never_).size(), 1U);
  AblationObserver observer;
  observer.begin = [](const Rung&, std::uint64_t, int) { ADD_FAILURE() << "it has ended"; };
  EXPECT_EQ(ablate(options_, observer, never_).size(), 1U);
}

// Two seeds of a fold see the same pictures: of folds with the means .6 and .8, and with
// differences of .1 and .2 from the first rung.
TEST_F(Ablation, StandardErrorsAreOverFolds) {
  const std::vector<Rung> ladder = ablation_ladder(options_);
  std::vector<AblationRun> runs;
  const auto add = [&](const char* rung, int seed, int fold, double accuracy) {
    AblationRun run;
    run.rung = rung;
    run.seed = static_cast<std::uint64_t>(seed);
    run.fold = fold;
    run.test.accuracy = accuracy;
    run.test.roc_auc = 0.5;
    runs.push_back(run);
  };
  for (const int seed : {0, 1}) {
    add("seed", seed, 1, seed == 0 ? 0.5 : 0.7);
    add("seed", seed, 2, 0.8);
    add("normal", seed, 1, seed == 0 ? 0.625 : 0.775);
    add("normal", seed, 2, seed == 0 ? 0.95 : 1.05);
  }
  const std::string text = ablation_table(ladder, runs);
  EXPECT_NE(text.find("| seed recipe | 0.5000 +- 0.0000 | - | 0.7000 +- 0.1000 | - |"), text.npos)
      << text;
  EXPECT_NE(text.find("| +0.0000 +- 0.0000 | 0.8500 +- 0.1500 | +0.1500 +- 0.0500 |"), text.npos)
      << text;
  write_ablation(scratch_.path(), ladder, runs);
  const CsvTable table = read_csv(scratch_.path() / "ablation.csv");
  ASSERT_GE(table.find("fold"), 0);
  EXPECT_EQ(table.rows[1][at(table.find("fold"))], "2");
}

TEST_F(Ablation, TableHasMeanAndRange) {
  const std::vector<Rung> ladder = ablation_ladder(options_);
  std::vector<AblationRun> runs(3);
  for (std::size_t i = 0; i < 3; ++i) {
    runs[i].rung = "last";
    runs[i].test.accuracy = 0.5 + 0.125 * static_cast<double>(i);
    runs[i].accuracy_at_half = 0.5;
    runs[i].test.roc_auc = 0.75;
    runs[i].seconds = 60 * static_cast<double>(i);
  }
  EXPECT_EQ(ablation_table(ladder, runs),
            "| recipe | runs | accuracy | accuracy at .5 | ROC-AUC | minutes per run |\n"
            "|---|---|---|---|---|---|\n"
            "| last 5 blocks | 3 | 0.625 (0.500 to 0.750) | 0.500 (0.500 to 0.500) | 0.750 (0.750 "
            "to 0.750) | 1.0 |\n");
}

TEST_F(Ablation, RefusesWhatItCannotRun) {
  AblationOptions o = options_;
  o.seeds = 0;
  EXPECT_THROW(ablate(o, {}, never_), UsageError);
  o = options_;
  o.weights.clear();
  EXPECT_THROW(ablate(o, {}, never_), UsageError);
  o = options_;
  o.data = scratch_.path();
  EXPECT_THROW(ablate(o, {}, never_), DataError);
  EXPECT_FALSE(std::filesystem::exists(o.output));
}

}  // namespace
}  // namespace dfengine
