// Run histories, comparisons, an evaluation's charts and tables, the choice of mistakes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/report/comparison.h"
#include "engine/report/evaluation_charts.h"
#include "engine/report/mistakes.h"
#include "engine/report/report.h"
#include "engine/report/training_charts.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/train/run_files.h"
#include "engine/train/schedule.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "tests/engine/report/report_support.h"
#include "tests/engine/train/train_support.h"
#include "tests/weights/scratch_folder.h"
#include "weights/read_file.h"

namespace dfengine::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<EpochRow> rows(int epochs, double auc) {
  std::vector<EpochRow> all;
  for (int i = 1; i <= epochs; ++i)
    all.push_back({i, 0.7 / i, 0.5 + 0.05 * i, 0.6 / i, 0.5 + 0.04 * i, auc + 0.01 * (i % 3), 1e-4,
                   std::ldexp(65536.0, -i), i, 30, 0.25});
  return all;
}

std::filesystem::path make_run(const std::filesystem::path& folder, double lr, int epochs,
                               double auc) {
  std::filesystem::create_directories(folder);
  TrainOptions options;
  options.output = folder;
  options.data = "faces";
  options.lr = lr;
  write_args(options);
  write_results(folder, rows(epochs, auc));
  return folder;
}

TEST(RunHistory, ReadsBackWhatARunWrites) {
  const test::ScratchFolder scratch;
  const RunHistory run = read_run(make_run(scratch.path() / "one", 1e-3, 4, 0.8));
  EXPECT_EQ(run.name, "one");
  EXPECT_EQ(argument(run, "lr"), "0.001");
  EXPECT_EQ(argument(run, "data"), "faces");
  EXPECT_EQ(argument(run, "no such"), "");
  ASSERT_EQ(run.rows.size(), 4U);
  EXPECT_EQ(run.rows[3].epoch, 4);
  EXPECT_EQ(run.rows[1].valid_auc, rows(4, 0.8)[1].valid_auc);
  EXPECT_EQ(run.rows[2].valid_loss, rows(4, 0.8)[2].valid_loss);
  EXPECT_EQ(run.rows[2].loss_scale, 8192);
  EXPECT_EQ(run.rows[2].skipped, 3);
  EXPECT_EQ(run.rows[2].seconds, 30);
  EXPECT_EQ(run.rows[2].data_wait, 0.25);
  EXPECT_EQ(run.best()->epoch, 2);  // .82, the first of the best
}

TEST(RunHistory, DamagedFilesAreNamed) {
  const test::ScratchFolder scratch;
  const auto folder = make_run(scratch.path() / "one", 1e-3, 2, 0.8);
  const auto expect_refused = [&](const std::string& file, const std::string& text,
                                  const std::string& named) {
    write_text(folder / file, text);
    try {
      read_run(folder);
      ADD_FAILURE() << text;
    } catch (const DataError& e) {
      EXPECT_NE(std::string(e.what()).find(named), std::string::npos) << e.what();
    }
  };
  const std::string head =
      "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_auc,lr,loss_scale,skipped,"
      "seconds,data_wait\n";
  expect_refused(kResults, head + "1,2,3,4,five,6,7,8,9,10,11\n", "results.csv:2");
  expect_refused(kResults, head + "-1,2,3,4,5,6,7,8,9,10,11\n", "results.csv:2");
  expect_refused(kResults, "epoch,train_loss\n1,2\n", "train_accuracy");
  write_results(folder, rows(1, 0.5));
  expect_refused(kArguments, "{", "args.json");
  expect_refused(kArguments, "[1]", "args.json");
}

// Whether whole pictures were trained on or pooled features.
class RunReport : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    options_ = test::tiny_options(scratch_.path() / "run");
    options_.freeze = GetParam();
    result_ = test::train_to_end(options_);
  }
  Predictions kept(const Model& model) const {
    return read_valid_predictions(options_.output, result_.splits[1], model);
  }

  std::string page_of(const Model& model) const {
    ThreadPool pool(1);
    write_run_report(result_, model, valid_predictions(result_, model, pool), pool, "", {});
    return test::slurp(options_.output / kReport);
  }

  test::ScratchFolder scratch_;
  TrainOptions options_;
  TrainResult result_;
};

TEST_P(RunReport, KeptPredictionsAreTheKeptModels) {
  Model model = load_detector(options_.output / kBestModel);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  const Dataset& valid = result_.splits[1];
  Loader loader(valid, loader_options(options_, model, 1));
  const Predictions now = predict_split(predictor, valid, loader), then = kept(model);
  EXPECT_EQ(then.logit, now.logit);
  EXPECT_EQ(then.prob, now.prob);
  EXPECT_EQ(then.label, now.label);
  EXPECT_EQ(then.index, now.index);
}

// Predictions are not made again: what the file says is what the page shows.
TEST_P(RunReport, ShowsTheKeptPredictions) {
  const Model model = load_detector(options_.output / kBestModel);
  Predictions right = kept(model);
  for (std::size_t i = 0; i < right.logit.size(); ++i) right.logit[i] = right.label[i] ? 50 : -50;
  write_valid_predictions(options_.output, right);
  const std::string page = page_of(model);
  EXPECT_EQ(MarkupCheck(page).run(), "");
  EXPECT_NE(page.find("None: every picture is on its side of the threshold."), page.npos);
}

TEST_P(RunReport, CountsThePicturesThatWereRead) {
  const Model model = load_detector(options_.output / kBestModel);
  Predictions some = kept(model);
  const int left_out = some.label.back();
  some.logit.pop_back();
  some.index.pop_back();
  write_valid_predictions(options_.output, some);
  const std::string page = page_of(model);
  EXPECT_NE(page.find("figures of its 5 validation pictures"), page.npos);
  const char* counts = left_out == 1 ? "3 real and 2 fake" : "2 real and 3 fake";
  EXPECT_NE(page.find(counts), page.npos) << counts;
}

// Versions before this file's first left runs without it.
TEST_P(RunReport, MakesPredictionsAnewWhereNoneWereKept) {
  const Model model = load_detector(options_.output / kBestModel);
  const std::string page = page_of(model);
  std::filesystem::remove(options_.output / kValidPredictions);
  EXPECT_EQ(page_of(model), page);
}

TEST_P(RunReport, PredictionsOfOtherPicturesAreRefused) {
  const Model model = load_detector(options_.output / kBestModel);
  const Predictions good = kept(model);
  const auto expect_refused = [&](const char* named) {
    const std::string text = test::message_of<ModelFileError>([&] { kept(model); });
    EXPECT_NE(text.find(kValidPredictions), text.npos) << text;
    EXPECT_NE(text.find(named), text.npos) << text;
  };
  Predictions bad = good;
  bad.index.back() = 1000;
  write_valid_predictions(options_.output, bad);
  expect_refused("no picture 1000");
  weights::TensorFile file = weights::read_safetensors(options_.output / kValidPredictions);
  const std::vector<float> few(2);
  file.tensors.front() = weights::make_tensor("logit", {2}, std::span<const float>(few));
  weights::write_safetensors(options_.output / kValidPredictions, file);
  expect_refused("length");
  save_model(options_.output / kValidPredictions, model);
  expect_refused("logit");
  std::filesystem::remove(options_.output / kValidPredictions);
  expect_refused("");
}
INSTANTIATE_TEST_SUITE_P(Steps, RunReport, testing::Values(0, kWholeBase));

TEST(Comparison, TablesHaveTheKeptEpochAndOnlyWhatDiffers) {
  const test::ScratchFolder scratch;
  const std::vector<RunHistory> runs = read_runs({make_run(scratch.path() / "a/run", 1e-3, 4, 0.8),
                                                  make_run(scratch.path() / "b/run", 1e-4, 2, 0.7),
                                                  make_run(scratch.path() / "c", 1e-4, 0, 0)});
  const Table table = comparison_table(runs);
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[0][0], "run");
  EXPECT_EQ(table.rows[1][0], "run (2)");
  EXPECT_EQ(table.columns[2], "accuracy at 0.5");
  EXPECT_EQ(table.columns[3], "loss, uncalibrated");
  EXPECT_EQ(table.rows[0][1], "0.8200");
  EXPECT_EQ(table.rows[0][5], "2");
  EXPECT_EQ(table.rows[0][7], "2.0");  // minutes
  EXPECT_EQ(table.rows[2][1], "n/a");  // no epoch yet
  EXPECT_EQ(settings_table(runs).columns, (std::vector<std::string>{"run", "lr"}));
  const std::string text = plain_text(table);
  EXPECT_NE(text.find("run (2)   0.7200"), text.npos) << text;

  write_comparison(scratch.path() / "out", runs);
  const std::string html = weights::read_text(scratch.path() / "out/compare.html");
  EXPECT_EQ(MarkupCheck(html).run(), "");
  for (const char* file : {"loss", "accuracy", "auc"})
    EXPECT_TRUE(
        std::filesystem::exists(scratch.path() / "out/charts" / (std::string(file) + ".svg")));
}

// Six decimals would make the AUCs equal, and the loss would decide for the first.
TEST(RunHistory, TheBestEpochIsThatOfTheNumbersThatTrainingCompared) {
  const test::ScratchFolder scratch;
  const std::filesystem::path folder = make_run(scratch.path() / "run", 1e-3, 2, 0.5);
  std::vector<EpochRow> close = rows(2, 0.5);
  close[0].valid_auc = 0.9000001;
  close[1].valid_auc = 0.9000002;
  close[0].valid_loss = 0.1;
  close[1].valid_loss = 0.2;
  write_results(folder, close);
  const RunHistory run = read_run(folder);
  ASSERT_NE(run.best(), nullptr);
  EXPECT_EQ(run.best()->epoch, 2);
}

TEST(TrainingCharts, AreSoundAndTheRateIsTheSchedules) {
  RunHistory run;
  for (int epochs : {0, 1, 40}) {
    run.rows = rows(epochs, kNan);
    for (const NamedChart& chart : training_charts(run)) expect_sound_svg(chart.svg);
  }
  EXPECT_EQ(training_charts(run).back().file, "loss_scale");
  for (EpochRow& row : run.rows) row.loss_scale = 1;  // as on the CPU
  EXPECT_EQ(training_charts(run).back().file, "auc");
  TrainOptions options;
  options.epochs = 4;
  options.head_epochs = 0;
  run.rows = rows(4, 0.5);
  for (EpochRow& row : run.rows) row.lr = learning_rate(options, 10, row.epoch - 1, 9) / 2;
  const std::string element = learning_rate_chart(options, 10, run.rows).svg;
  expect_sound_svg(element);
  // Halved by a plateau: the top of the axis is half the rate.
  EXPECT_NE(element.find(">5e-5<"), element.npos) << element;
  EXPECT_EQ(element.find(">1e-4<"), element.npos) << element;
}

TEST(EvaluationCharts, MatricesOfAnEarlierThresholdGo) {
  const test::ScratchFolder scratch;
  const std::vector<double> prob = {0.1, 0.9};
  const std::vector<int> label = {0, 1};
  test::spill(scratch.path() / "loss.svg", "another's");
  for (const double threshold : {0.3, 0.7})
    write_charts(scratch.path(), evaluation_charts(prob, label, threshold));
  const auto there = [&](const char* file) {
    return std::filesystem::exists(scratch.path() / file);
  };
  for (const char* file : {"confusion_0.3.svg", "confusion_0.3_shares.svg"})
    EXPECT_FALSE(there(file)) << file;
  for (const char* file : {"confusion_0.7.svg", "confusion_0.5_shares.svg", "roc.svg", "loss.svg"})
    EXPECT_TRUE(there(file)) << file;
}

TEST(EvaluationCharts, AreSoundForScoresOfEveryKind) {
  const std::vector<int> label = {0, 1, 0, 1, 1, 0};
  for (const std::vector<double>& prob : {std::vector<double>{0.1, 0.9, 0.6, 0.4, 0.8, 0.2},
                                          {0.5, 0.5, 0.5, 0.5, 0.5, 0.5},
                                          {0, 1, 0, 1, 1, 0},
                                          {1, 0, 1, 0, 0, 1}}) {
    const std::vector<NamedChart> charts = evaluation_charts(prob, label, 0.47);
    ASSERT_EQ(charts.size(), 8U);  // matrices at .47 and at .5
    for (const NamedChart& chart : charts) expect_sound_svg(chart.svg);
  }
  const std::vector<double> prob = {0.1, 0.9};
  // One threshold, as it is read.
  for (double threshold : {0.5, 0.50001})
    EXPECT_EQ(evaluation_charts(prob, std::vector<int>{0, 1}, threshold).size(), 6U);
  for (int only : {0, 1})  // a missing class: rates that do not exist
    for (const NamedChart& chart : evaluation_charts(prob, std::vector<int>{only, only}, 0.5))
      expect_sound_svg(chart.svg);
}

TEST(EvaluationCharts, TablesHoldEveryMetric) {
  const std::vector<double> prob = {0.1, 0.9, 0.48, 0.4};
  const std::vector<int> label = {0, 1, 0, 1};
  const Metrics at = compute_metrics(prob, label, 0.3), half = compute_metrics(prob, label, 0.5);
  const std::vector<Interval> intervals(metric_fields().size(), {0.25, kNan});
  const Table table = metric_table(at, half, intervals);
  ASSERT_EQ(table.rows.size(), metric_fields().size());
  EXPECT_EQ(table.columns.size(), 4U);
  EXPECT_EQ(table.rows[0], (std::vector<std::string>{metric_fields()[0].title, "0.7500",
                                                     "0.250 to n/a", "0.7500"}));
  EXPECT_EQ(metric_table(half, half, intervals).columns.size(), 3U);
  const std::vector<Interval> none(metric_fields().size(), {kNan, kNan});
  EXPECT_EQ(metric_table(at, half, none).rows[0][2], "none");
  const Table classes = class_table(at.confusion, {"real", "fake"});
  EXPECT_EQ(classes.rows[1], (std::vector<std::string>{"fake", "0.6667", "1.0000", "0.8000", "2"}));
}

TEST(Mistakes, AreTheSurestOfEachClass) {
  const std::vector<double> prob = {0.9, 0.2, 0.95, 0.6, 0.1, 0.7, 0.9};
  const std::vector<int> label = {0, 1, 0, 0, 1, 1, 0};
  std::vector<std::size_t> samples;
  for (const Mistake& m : surest_mistakes(prob, label, 0.5, 3)) samples.push_back(m.sample);
  EXPECT_EQ(samples, (std::vector<std::size_t>{2, 0, 6, 4, 1}));
  EXPECT_EQ(surest_mistakes(prob, label, 0.05, 9).size(), 4U);  // everything is called fake
  EXPECT_TRUE(surest_mistakes({}, {}, 0.5, 3).empty());
}

}  // namespace
}  // namespace dfengine::report
