// dfengine train and eval: a whole run, its files, its figures, Ctrl-C and --resume.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/evaluate/metrics/classification.h"
#include "engine/model/model.h"
#include "engine/report/export/model_card.h"
#include "engine/report/report.h"
#include "engine/train/checkpoint.h"
#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using nlohmann::json;
using test::contains;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;
using test::train_arguments;
using test::trained_run;

TEST(SynthCommand, DrawsASetThatIsNotOverwritten) {
  const ScratchFolder scratch;
  const std::string set = (scratch.path() / "set").string();
  const std::vector<std::string> arguments = {"synth",  "--output", set,      "--count", "20",
                                              "--size", "32",       "--seed", "7"};
  const Outcome o = run_program(arguments);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "20 pictures")) << o.out;
  std::size_t pictures = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(set))
    pictures += entry.path().extension() == ".jpg";
  EXPECT_EQ(pictures, 20U);
  const Outcome again = run_program(arguments);
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(contains(again.err, set)) << again.err;
}

TEST(TrainCommand, LeavesTheFilesOfARunAndSaysWhereTheBestIs) {
  const ScratchFolder scratch;
  const std::filesystem::path run = scratch.path() / "run";
  const Outcome o = run_program(train_arguments(run, {"--head-epochs", "1"}));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "head alone")) << o.out;
  EXPECT_TRUE(contains(o.out, "everything")) << o.out;
  EXPECT_TRUE(contains(o.out, "ETA")) << "plain progress lines when not a terminal";
  EXPECT_FALSE(contains(o.out + o.err, "\x1b")) << "no terminal codes when not a terminal";
  EXPECT_TRUE(contains(o.out, (run / kBestModel).string())) << o.out;
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(run))
    files.insert(entry.path().filename().string());
  EXPECT_EQ(files,
            (std::set<std::string>{kArguments, kBestModel, kCheckpoint, kResults, kValidPredictions,
                                   report::kReport, report::kCharts, report::kModelCard}));
  EXPECT_EQ(test::parse_csv(slurp(run / kResults)).size(), 3U);
  const json args = json::parse(slurp(run / kArguments));
  EXPECT_EQ(args.at("head_epochs"), 1);
  EXPECT_EQ(args.at("data"), picture_set());

  const Outcome again = run_program(train_arguments(run));
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(contains(again.err, run.string())) << again.err;
}

TEST(TrainCommand, RecipesAreFilledInAndSingleSettingsPutOverThem) {
  const ScratchFolder scratch;
  const std::filesystem::path run = scratch.path() / "run";
  const Outcome o = run_program(train_arguments(run, {"--recipe", "seed", "--no-progress"}));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_FALSE(contains(o.out, "ETA"));
  const json args = json::parse(slurp(run / kArguments));
  EXPECT_EQ(args.at("freeze"), 19);
  EXPECT_EQ(args.at("schedule"), "constant");
  EXPECT_EQ(args.at("pixels"), "zero_one");
  EXPECT_EQ(args.at("augment").at("hflip"), false);
  EXPECT_EQ(args.at("epochs"), 2);
  EXPECT_EQ(args.at("lr"), 0.002);
}

// Everything but the seconds and the run's own folder.
void expect_same_runs(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_TRUE(slurp(a / kBestModel) == slurp(b / kBestModel));
  const Checkpoint x = load_checkpoint(a / kCheckpoint), y = load_checkpoint(b / kCheckpoint);
  for (const ParamSpec& p : x.model.parameters.specs())
    EXPECT_EQ(x.model.parameters.get(x.model.parameters.find(p.name)),
              y.model.parameters.get(y.model.parameters.find(p.name)))
        << p.name;
  EXPECT_EQ(x.moments.first, y.moments.first);
  EXPECT_EQ(x.moments.second, y.moments.second);
  auto rows = test::parse_csv(slurp(a / kResults)), others = test::parse_csv(slurp(b / kResults));
  for (auto* all : {&rows, &others})
    for (auto& row : *all) row.resize(row.size() - 2);  // seconds, data_wait
  EXPECT_EQ(rows, others);
}

TEST(TrainCommand, CtrlCLeavesACheckpointFromWhichTheRunGoesOnBitForBit) {
  const ScratchFolder scratch;
  const std::filesystem::path run = scratch.path() / "run";
  bool sent = false;
  const Outcome o = run_program(train_arguments(run), [&](pid_t child, const std::string& out) {
    if (sent || !contains(out, "img/s")) return;
    sent = true;
    kill(child, SIGINT);
  });
  ASSERT_EQ(o.code, 130) << o.out << o.err;
  EXPECT_TRUE(contains(o.err, "--resume")) << o.err;
  const Checkpoint c = load_checkpoint(run / kCheckpoint);
  EXPECT_FALSE(c.state.finished);

  using Words = std::vector<std::string>;
  for (const Words& setting : {Words{"--lr", "0.1"}, {"--device", "cpu"}, {"--deterministic"}}) {
    Words words = {"train", "--resume", "--output", run.string()};
    words.insert(words.end(), setting.begin(), setting.end());
    const Outcome changed = run_program(words);
    EXPECT_EQ(changed.code, 2);
    EXPECT_TRUE(contains(changed.err, setting[0])) << changed.err;
  }

  const Outcome rest = run_program({"train", "--resume", "--output", run.string()});
  EXPECT_EQ(rest.code, 0) << rest.err;
  EXPECT_TRUE(contains(rest.out, "goes on")) << rest.out;
  expect_same_runs(trained_run(), run);
}

TEST(TrainCommand, ResumeWithOtherPicturesEndsWithThree) {
  const ScratchFolder scratch;
  const std::filesystem::path run = scratch.path() / "run", data = scratch.path() / "data";
  std::filesystem::copy(trained_run(), run, std::filesystem::copy_options::recursive);
  std::filesystem::copy(picture_set(), data, std::filesystem::copy_options::recursive);
  std::filesystem::remove(data / "train/real/00000.jpg");
  const Outcome o =
      run_program({"train", "--resume", "--output", run.string(), "--data", data.string()});
  EXPECT_EQ(o.code, 3) << o.err;
  EXPECT_TRUE(contains(o.err, data.string())) << o.err;
}

TEST(TrainCommand, BrokenPicturesAreListedOrEndTheRun) {
  const ScratchFolder scratch;
  const std::filesystem::path data = scratch.path() / "data";
  std::filesystem::copy(picture_set(), data, std::filesystem::copy_options::recursive);
  test::spill(data / "train/fake/broken.jpg", "\xff\xd8\xff no picture");
  std::vector<std::string> arguments = train_arguments(scratch.path() / "run");
  arguments[2] = data.string();
  const Outcome skipped = run_program(arguments);
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_TRUE(contains(skipped.out, "1 pictures left out")) << skipped.out;
  const auto bad = test::parse_csv(slurp(scratch.path() / "run" / kBadFiles));
  ASSERT_EQ(bad.size(), 2U);
  EXPECT_EQ(bad[1][0], "train");
  EXPECT_EQ(bad[1][1], "train/fake/broken.jpg");

  const Outcome eval = run_program(
      {"eval", "--model", (scratch.path() / "run" / kBestModel).string(), "--data", data.string(),
       "--split", "train", "--output", (scratch.path() / "eval").string()});
  EXPECT_EQ(eval.code, 3) << eval.err;
  EXPECT_TRUE(contains(eval.err, "1 of 33 pictures")) << eval.err;
  EXPECT_EQ(test::parse_csv(slurp(scratch.path() / "eval/predictions.csv")).size(), 33U);
  EXPECT_EQ(test::parse_csv(slurp(scratch.path() / "eval" / kBadFiles)).size(), 2U);

  arguments[4] = (scratch.path() / "strict").string();
  arguments.insert(arguments.end(), {"--on-bad", "fail"});
  const Outcome o = run_program(arguments);
  EXPECT_EQ(o.code, 3) << o.err;
  EXPECT_TRUE(contains(o.err, "broken.jpg")) << o.err;
}

struct Row {
  double prob;
  bool fake;
};

TEST(EvalCommand, FiguresAreThoseOfItsPredictions) {
  const ScratchFolder scratch;
  const std::filesystem::path out = scratch.path() / "a" / "b";  // made with its parents
  const std::string model = (trained_run() / kBestModel).string();
  const Outcome o = run_program({"eval", "--model", model, "--data", picture_set(), "--split",
                                 "train", "--output", out.string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const double threshold = load_detector(model).threshold;
  EXPECT_TRUE(contains(o.out, "positive class: fake")) << o.out;

  const auto csv = test::parse_csv(slurp(out / "predictions.csv"));
  ASSERT_EQ(csv.size(), 33U);
  EXPECT_EQ(csv[0], (std::vector<std::string>{"path", "label", "prob_fake"}));
  std::vector<Row> rows;
  for (std::size_t i = 1; i < csv.size(); ++i) {
    ASSERT_EQ(csv[i].size(), 3U);
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(picture_set()) / csv[i][0]));
    EXPECT_EQ(csv[i][1], contains(csv[i][0], "/fake/") ? "fake" : "real");
    rows.push_back({std::stod(csv[i][2]), csv[i][1] == "fake"});
  }

  // Each figure from its definition, pair by pair where it is one of pairs.
  double tn = 0, fp = 0, fn = 0, tp = 0, loss = 0, wins = 0;
  for (const Row& r : rows) {
    (r.fake ? (r.prob >= threshold ? tp : fn) : (r.prob >= threshold ? fp : tn)) += 1;
    loss -= std::log(r.fake ? r.prob : 1 - r.prob) / static_cast<double>(rows.size());
    for (const Row& s : rows)
      if (r.fake && !s.fake) wins += r.prob > s.prob ? 1.0 : r.prob == s.prob ? 0.5 : 0.0;
  }
  const json m = json::parse(slurp(out / "metrics.json"));
  const double n = static_cast<double>(rows.size());
  EXPECT_EQ(m.at("n"), n);
  EXPECT_EQ(m.at("confusion"), (json{{"tn", tn}, {"fp", fp}, {"fn", fn}, {"tp", tp}}));
  EXPECT_EQ(m.at("accuracy"), (tp + tn) / n);
  EXPECT_EQ(m.at("precision"), tp + fp > 0 ? tp / (tp + fp) : 0);
  EXPECT_EQ(m.at("recall"), tp / (tp + fn));
  EXPECT_EQ(m.at("f1"), 2 * tp / (2 * tp + fp + fn));
  EXPECT_EQ(m.at("roc_auc"), wins / ((tp + fn) * (tn + fp)));
  EXPECT_EQ(m.at("threshold"), threshold);
  EXPECT_EQ(m.at("at_half").at("threshold"), 0.5);
  EXPECT_EQ(m.at("at_half").at("roc_auc"), m.at("roc_auc"));
  EXPECT_EQ(m.at("confusion_normalized").at("tp"), tp / (tp + fn));
  EXPECT_EQ(m.at("per_class").at("real").at("support"), tn + fp);
  for (const MetricField& f : metric_fields()) {
    const json& interval = m.at("intervals").at(f.key);
    EXPECT_LE(interval[0], interval[1]) << f.key;
    EXPECT_TRUE(contains(o.out, f.title)) << o.out;
  }
  EXPECT_EQ(m.at("positive_class"), "fake");
  double slope = 0;  // what an error of the written probability does to the loss
  for (const Row& r : rows) slope = std::max(slope, 1 / (r.fake ? r.prob : 1 - r.prob));
  EXPECT_NEAR(m.at("log_loss").get<double>(), loss, test::decimal_tolerance(8, slope));
  for (const char* key : {"split", "model", "data", "temperature"}) EXPECT_TRUE(m.contains(key));
}

TEST(EvalCommand, TheThresholdGivenGoesBeforeTheModels) {
  const ScratchFolder scratch;
  const std::vector<std::string> arguments = {"eval",
                                              "--model",
                                              (trained_run() / kBestModel).string(),
                                              "--data",
                                              picture_set(),
                                              "--output",
                                              scratch.path().string()};
  std::vector<std::string> with = arguments;
  with.insert(with.end(), {"--threshold", "0"});
  const Outcome o = run_program(with);
  ASSERT_EQ(o.code, 0) << o.err;
  const json m = json::parse(slurp(scratch.path() / "metrics.json"));
  EXPECT_EQ(m.at("threshold"), 0);
  EXPECT_EQ(m.at("recall"), 1);
  EXPECT_EQ(m.at("specificity"), 0);
  with.back() = "1.5";
  EXPECT_EQ(run_program(with).code, 2);
}

}  // namespace
}  // namespace dfengine
