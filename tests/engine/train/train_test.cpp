// Whole training runs on a tiny set: the same bits every time, what moves and what rests, which
// model is kept, and how runs end.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::ScratchFolder;
using test::tiny_options;
using test::train_to_end;

class Train : public testing::Test {
 protected:
  TrainOptions options(const char* folder) const { return tiny_options(scratch_.path() / folder); }
  ScratchFolder scratch_;
};

TEST_F(Train, TwiceGivesTheSameBitsAndSoDoAnyThreads) {
  for (int head_epochs : {0, 1}) {
    TrainOptions one = options(head_epochs ? "one_h" : "one");
    TrainOptions again = options(head_epochs ? "again_h" : "again");
    TrainOptions two = options(head_epochs ? "two_h" : "two");
    TrainOptions three = options(head_epochs ? "three_h" : "three");
    two.threads = 2;
    three.threads = 3;
    for (TrainOptions* o : {&one, &again, &two, &three}) {
      o->head_epochs = head_epochs;
      train_to_end(*o);
    }
    test::expect_same_run(one.output, again.output);
    test::expect_same_run(one.output, two.output);
    test::expect_same_run(one.output, three.output);
  }
}

TEST_F(Train, AnotherSeedGivesAnotherRun) {
  const TrainOptions a = options("a");
  TrainOptions b = options("b");
  b.seed = a.seed + 1;
  train_to_end(a);
  train_to_end(b);
  EXPECT_NE(test::results_without_seconds(a.output), test::results_without_seconds(b.output));
}

TEST_F(Train, EveryPictureIsSeenOncePerEpochThePartialBatchIncluded) {
  for (Index batch : {Index{10}, Index{16}, Index{47}, Index{48}, Index{1000}}) {
    for (int freeze : {0, kWholeBase}) {
      TrainOptions o =
          options(("b" + std::to_string(batch) + "_" + std::to_string(freeze)).c_str());
      o.batch_size = batch;
      o.freeze = freeze;
      o.epochs = 1;
      TrainObserver observer;
      Index steps = 0, of = 0;
      observer.step = [&](const TrainObserver::Progress& p) {
        EXPECT_EQ(p.step, ++steps);
        of = p.steps;
      };
      const std::atomic<bool> never{false};
      const TrainResult result = train(o, false, observer, never);
      EXPECT_EQ(steps, (48 + batch - 1) / batch);
      EXPECT_EQ(of, steps);
      EXPECT_EQ(result.state.total_steps, static_cast<std::uint64_t>(steps));
      const double seen = result.state.rows.at(0).train_accuracy * 48;
      EXPECT_NEAR(seen, std::round(seen), test::tolerance<double>(2, 48));
    }
  }
}

TEST_F(Train, TheModelKeptIsThatOfTheEpochWithTheBestValidationAuc) {
  TrainOptions o = options("run");
  o.epochs = 8;
  o.lr = 0.1;  // restless
  o.schedule = ScheduleKind::Constant;
  o.warmup = 0;
  std::vector<std::string> files;  // best.safetensors after each epoch
  std::vector<bool> marked;
  TrainObserver observer;
  observer.epoch = [&](const EpochRow&, bool best) {
    files.push_back(test::slurp(o.output / kBestModel));
    marked.push_back(best);
  };
  const std::atomic<bool> never{false};
  const TrainResult result = train(o, false, observer, never);
  const auto& rows = result.state.rows;
  ASSERT_EQ(rows.size(), 8U);
  std::size_t best = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool better =
        i == 0 || rows[i].valid_auc > rows[best].valid_auc ||
        (rows[i].valid_auc == rows[best].valid_auc && rows[i].valid_loss < rows[best].valid_loss);
    if (better) best = i;
    EXPECT_EQ(marked[i], better) << "epoch " << i + 1;
    EXPECT_EQ(i == 0 || files[i] != files[i - 1], better) << "epoch " << i + 1;
  }
  EXPECT_EQ(result.state.best_epoch, static_cast<int>(best) + 1);
  EXPECT_EQ(result.state.best_auc, rows[best].valid_auc);
  EXPECT_EQ(result.state.best_loss, rows[best].valid_loss);
  ASSERT_NE(std::ranges::count(marked, false), 0) << "the case must hold a worse epoch";

  // The file, evaluated anew without its temperature, gives that epoch's row, and the temperature
  // and threshold that it holds.
  Model model = load_detector(o.output / kBestModel);
  const double temperature = std::exchange(model.temperature, 1);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  const Dataset valid = test::split_of(o.data, "valid");
  Loader loader(valid, loader_options(o, model, 1));
  const Predictions p = predict_split(predictor, valid, loader);
  const Metrics m = compute_metrics(p.prob, p.label, 0.5);
  EXPECT_EQ(m.log_loss, rows[best].valid_loss);
  EXPECT_EQ(m.accuracy, rows[best].valid_accuracy);
  EXPECT_EQ(m.roc_auc, rows[best].valid_auc);
  EXPECT_NE(temperature, 1) << "the case must have a temperature to fit";
  EXPECT_EQ(temperature, fit_temperature(p.logit, p.label));
  std::vector<double> calibrated;
  for (const double logit : p.logit) calibrated.push_back(sigmoid(logit / temperature));
  EXPECT_EQ(model.threshold, choose_threshold(calibrated, p.label, o.threshold_rule));
}

// The CPU trains with the threads that it does not decode with; a device needs none of them.
TEST(TrainRule, ADeviceLeavesEveryThreadToDecoding) {
  TrainOptions o;
  const Model model = make_model(test::tiny_config(), 1);
  EXPECT_EQ(loader_options(o, model, 16).threads, 2);
  o.device = DeviceKind::Cuda;
  EXPECT_EQ(loader_options(o, model, 16).threads, 16);
}

TEST(TrainRule, BetterIsByAucThenByLoss) {
  EXPECT_TRUE(is_better(0.6, 9, 0.5, 1));
  EXPECT_FALSE(is_better(0.5, 0, 0.6, 1));
  EXPECT_TRUE(is_better(0.5, 0.9, 0.5, 1));
  EXPECT_FALSE(is_better(0.5, 1, 0.5, 1));
}

TEST_F(Train, ResultsAndArgumentsSayWhatHappened) {
  const TrainOptions o = options("run");
  const TrainResult result = train_to_end(o);
  test::expect_files(o.output, {kBestModel, kCheckpoint, kResults, kArguments, kValidPredictions});
  std::istringstream in(test::slurp(o.output / kResults));
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line,
            "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_auc,lr,loss_scale,skipped,"
            "seconds,data_wait");
  int epochs = 0;
  while (std::getline(in, line)) {
    EXPECT_EQ(line.substr(0, 2), std::to_string(++epochs) + ",");
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), 10);
  }
  EXPECT_EQ(epochs, o.epochs);
  const auto args = nlohmann::json::parse(test::slurp(o.output / kArguments));
  EXPECT_EQ(args.at("lr"), o.lr);
  EXPECT_EQ(args.at("width"), o.width);
  EXPECT_TRUE(args.at("engine_version").is_string());
  EXPECT_GT(result.planned_bytes, 0);
}

TEST_F(Train, FrozenBlocksKeepEveryBitAndTheRestMoves) {
  constexpr int kFrozen = 5;
  TrainOptions o = options("run");
  o.freeze = kFrozen;
  o.lr = 0.01;
  train_to_end(o);
  const Model before = make_model(test::tiny_config(), o.seed);
  const Model after = load_checkpoint(o.output / kCheckpoint).model;
  const Trainable trainable = before.network.trainable_above(kFrozen);
  for (const ParamSpec& p : before.parameters.specs()) {
    const bool frozen = !trainable(p);
    EXPECT_EQ(test::parameter(before, p.name) == test::parameter(after, p.name), frozen) << p.name;
  }
}

TEST_F(Train, AFrozenBaseKeepsEveryBit) {
  TrainOptions o = options("run");
  o.freeze = kWholeBase;
  train_to_end(o);
  const Model before = make_model(test::tiny_config(), o.seed);
  const Model after = load_checkpoint(o.output / kCheckpoint).model;
  for (const ParamSpec& p : before.parameters.specs())
    EXPECT_EQ(test::parameter(before, p.name) == test::parameter(after, p.name),
              p.name.starts_with("features."))
        << p.name;
}

// Dark against bright pictures: any network that learns at all gets this.
TEST_F(Train, LearnsAnEasySet) {
  const test::TempDir data;
  for (int i = 0; i < 48; ++i) {
    const bool fake = i % 2 != 0;
    Image picture = test::pattern(96, 96, i);
    for (std::uint8_t& v : picture.rgb) v = static_cast<std::uint8_t>(v / 4 + (fake ? 160 : 20));
    const char* split = i < 36 ? "train" : "valid";
    data.write_bmp(std::string(split) + (fake ? "/fake/" : "/real/") + std::to_string(i) + ".bmp",
                   picture);
  }
  for (int freeze : {0, kWholeBase}) {
    TrainOptions o = options(freeze ? "head" : "all");
    o.data = data.path();
    o.freeze = freeze;
    o.epochs = 12;
    o.lr = 1e-2;
    o.dropout = 0;
    o.schedule = ScheduleKind::Constant;
    const auto rows = train_to_end(o).state.rows;
    EXPECT_LT(rows.back().train_loss, rows.front().train_loss / 2) << "freeze " << freeze;
    EXPECT_EQ(rows.back().valid_auc, 1.0) << "freeze " << freeze;
  }
}

TEST_F(Train, PatienceStopsAfterSoManyEpochsWithoutABetterLoss) {
  TrainOptions o = options("run");
  o.epochs = 40;
  o.patience = 2;
  o.lr = 0.05;
  o.schedule = ScheduleKind::Constant;
  o.freeze = kWholeBase;
  const TrainResult result = train_to_end(o);
  ASSERT_EQ(result.end, TrainEnd::EarlyStop);
  EXPECT_LT(result.state.epoch, o.epochs);
  EXPECT_EQ(result.state.epoch, result.state.best_epoch + o.patience);
  EXPECT_EQ(result.state.rows.size(), static_cast<std::size_t>(result.state.epoch));
  EXPECT_TRUE(result.state.finished);
  // A finished run stays finished.
  EXPECT_EQ(train_to_end(o, true).state.epoch, result.state.epoch);
  // Patience that runs out with the last epoch cuts nothing off.
  o.output = options("short").output;
  o.epochs = result.state.epoch;
  EXPECT_EQ(train_to_end(o).end, TrainEnd::Finished);
}

// With so small a rate no epoch is better than the first.
TEST_F(Train, PatienceBeginsAfterTheHeadEpochs) {
  TrainOptions o = options("run");
  o.epochs = 20;
  o.head_epochs = 4;
  o.freeze = kWholeBase;
  o.patience = 2;
  o.lr = 1e-30;
  const TrainResult result = train_to_end(o);
  ASSERT_EQ(result.end, TrainEnd::EarlyStop);
  EXPECT_EQ(result.state.best_epoch, 1);
  EXPECT_EQ(result.state.epoch, o.head_epochs + o.patience);
}

TEST_F(Train, AFolderThatHoldsARunIsRefusedAndUntouched) {
  const TrainOptions o = options("run");
  train_to_end(o);
  const std::string before = test::slurp(o.output / kCheckpoint);
  const std::string text = test::message_of<UsageError>([&] { train_to_end(o); });
  EXPECT_NE(text.find(o.output.string()), std::string::npos) << text;
  EXPECT_NE(text.find("--resume"), std::string::npos) << text;
  EXPECT_TRUE(test::slurp(o.output / kCheckpoint) == before);
}

TEST_F(Train, AnUnusableRequestLeavesNoFolder) {
  TrainOptions no_data = options("a"), odd_size = options("b"), no_weights = options("c");
  no_data.data = scratch_.path() / "nothing";
  odd_size.img_size = 100;
  no_weights.weights = scratch_.path() / "nothing.safetensors";
  EXPECT_THROW(train_to_end(no_data), DataError);
  EXPECT_THROW(train_to_end(odd_size), UsageError);
  EXPECT_THROW(train_to_end(no_weights), ModelFileError);
  for (const TrainOptions& o : {no_data, odd_size, no_weights})
    EXPECT_FALSE(std::filesystem::exists(o.output)) << o.output;
}

TEST_F(Train, ALossThatIsNotFiniteIsAFailedRunAndTheLastCheckpointStays) {
  TrainOptions o = options("run");
  o.epochs = 6;
  o.lr = 900;
  o.optimizer = OptimizerKind::AdamW;
  o.weight_decay = 100;  // each step multiplies the weights by -90,000
  o.schedule = ScheduleKind::Constant;
  o.warmup = 0;
  for (int freeze : {0, kWholeBase}) {
    o.freeze = freeze;
    o.output = scratch_.path() / ("run" + std::to_string(freeze));
    try {
      train_to_end(o);
      FAIL() << "the loss stayed finite";
    } catch (const DataError& e) {
      FAIL() << "the data are not at fault: " << e.what();
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("not finite"), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("epoch"), std::string::npos) << e.what();
    }
    if (!std::filesystem::exists(o.output / kCheckpoint)) continue;
    const Model kept = load_checkpoint(o.output / kCheckpoint).model;
    for (const ParamSpec& p : kept.parameters.specs())
      for (float v : test::parameter(kept, p.name)) ASSERT_TRUE(std::isfinite(v)) << p.name;
  }
}

TEST_F(Train, CheckFiniteNamesTheLayerAndElseChangesNothing) {
  TrainOptions plain = options("plain"), checked = options("checked");
  checked.check_finite = true;
  train_to_end(plain);
  train_to_end(checked);
  EXPECT_EQ(test::results_without_seconds(plain.output),
            test::results_without_seconds(checked.output));

  TrainOptions o = options("diverges");
  o.epochs = 6;
  o.lr = 900;
  o.optimizer = OptimizerKind::AdamW;
  o.weight_decay = 100;
  o.schedule = ScheduleKind::Constant;
  o.warmup = 0;
  o.check_finite = true;
  try {
    train_to_end(o);
    FAIL() << "the loss stayed finite";
  } catch (const Error& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with("layer ")) << e.what();
  }
}

TEST_F(Train, WeightsGiveTheBaseAndTheNotesSayFromWhere) {
  const std::filesystem::path weights = scratch_.path() / "start.safetensors";
  save_model(weights, make_model(test::tiny_config(), 77));
  TrainOptions o = options("run");
  o.weights = weights;
  o.freeze = kWholeBase;
  train_to_end(o);
  const Model start = load_model(weights), best = load_detector(o.output / kBestModel);
  EXPECT_EQ(test::parameter(best, "features.3.conv.0.0.weight"),
            test::parameter(start, "features.3.conv.0.0.weight"));
  EXPECT_EQ(best.notes.at("source_file"), "start.safetensors");
  EXPECT_EQ(best.notes.at("source_sha256").size(), 64U);
  EXPECT_EQ(nlohmann::json::parse(best.notes.at("train_args")).at("lr"), o.lr);
}

}  // namespace
}  // namespace dfengine
