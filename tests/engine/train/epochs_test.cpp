// What a run notes of its epochs: learning rates, the moving average, how validation pictures rank.
#include <gtest/gtest.h>

#include "engine/data/sets/folder_source.h"
#include "engine/train/parameter_average.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::ScratchFolder;
using test::tiny_options;
using test::train_to_end;

class Epochs : public testing::Test {
 protected:
  TrainOptions options(const char* folder) const { return tiny_options(scratch_.path() / folder); }
  ScratchFolder scratch_;
};

TEST_F(Epochs, ARowsRateIsThatOfTheEpochsLastStep) {
  for (const Index group : {1, 2}) {
    TrainOptions o = options(group == 1 ? "single" : "grouped");
    o.epochs = 3;
    o.grad_accum_steps = group;
    o.schedule = ScheduleKind::Cosine;
    const Index updates = updates_per_epoch(o, test::kTinySteps);
    EXPECT_EQ(updates, group == 1 ? 5 : 3);
    for (const EpochRow& row : train_to_end(o).state.rows)
      EXPECT_EQ(row.lr, learning_rate(o, updates, row.epoch - 1, updates - 1)) << row.epoch;
  }
}

// Each epoch is one update, of a group that the epoch cuts short.
TEST_F(Epochs, TheMovingAverageCountsShortGroups) {
  TrainOptions o = options("run");
  o.grad_accum_steps = 2 * test::kTinySteps;
  o.model_ema = true;
  o.lr = 0.01;
  constexpr const char* kName = "head.fc1.weight";
  std::vector<std::vector<float>> after = {
      test::parameter(make_model(test::tiny_config(), o.seed), kName)};
  TrainObserver observer;
  observer.epoch = [&](const EpochRow&, bool) {
    after.push_back(test::parameter(load_checkpoint(o.output / kCheckpoint).model, kName));
  };
  const std::atomic<bool> never{false};
  train(o, false, observer, never);
  std::vector<double> want(after[0].begin(), after[0].end());
  for (int update = 0; update < o.epochs; ++update) {
    const double decay = average_decay(o.model_ema_decay, update);
    for (std::size_t k = 0; k < want.size(); ++k)
      want[k] = decay * want[k] + (1 - decay) * after[at(update + 1)][k];
  }
  Checkpoint end = load_checkpoint(o.output / kCheckpoint);
  const AverageInPlace averaged(end.model.parameters, end.average);
  const std::vector<float> got = test::parameter(end.model, kName);
  for (std::size_t k = 0; k < want.size(); ++k)
    ASSERT_NEAR(got[k], want[k], test::tolerance<float>(2 * o.epochs, 1));
}

// A bias lifts all logits to where the sigmoid is exactly 1.
TEST_F(Epochs, PicturesOfAProbabilityOfOneStillRank) {
  Model model = make_model(test::tiny_config(), 1);
  const int bias = model.parameters.find("head.fc2.bias");
  const std::vector<float> lifted = {64};
  model.parameters.set(bias, std::span<const float>(lifted));
  TrainOptions o = options("run");
  o.weights = scratch_.path() / "lifted.safetensors";
  save_model(o.weights, model);
  o.epochs = 1;
  o.lr = 1e-30;
  const TrainResult result = train_to_end(o);
  const Predictions p = read_valid_predictions(o.output, result.splits[1], model);
  EXPECT_EQ(p.prob, std::vector<double>(p.prob.size(), 1.0));
  EXPECT_NE(roc_auc(p.logit, p.label), 0.5) << "the case must rank";
  EXPECT_EQ(result.state.rows.at(0).valid_auc, roc_auc(p.logit, p.label));
}

}  // namespace
}  // namespace dfengine
