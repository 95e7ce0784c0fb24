// Phases of a run, learning rates, and the plateau rule, each against a table or its formula.
#include "engine/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "layers/networks/architectures.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr Index kSteps = 8;  // of an epoch

TrainOptions options_of(int head_epochs, int freeze, int unfreeze_at_epoch) {
  TrainOptions o;
  o.epochs = 6;
  o.head_epochs = head_epochs;
  o.freeze = freeze;
  o.unfreeze_at_epoch = unfreeze_at_epoch;
  return o;
}

// What the flags' help texts promise for an epoch counted from 0.
int frozen_in(const TrainOptions& o, int epoch) {
  if (epoch < o.head_epochs) return kWholeBase;
  if (o.unfreeze_at_epoch > 0 && epoch + 1 >= o.unfreeze_at_epoch) return 0;
  return o.freeze;
}

TEST(Schedule, FrozenBlocksFollowTheFlagsInEveryCombination) {
  for (int head : {0, 1, 3, 9}) {
    for (int freeze : {0, 5, kWholeBase}) {
      for (int unfreeze : {-1, 1, 2, 4, 9}) {
        const TrainOptions o = options_of(head, freeze, unfreeze);
        for (int epoch = 0; epoch < o.epochs; ++epoch) {
          SCOPED_TRACE(testing::Message() << "head " << head << " freeze " << freeze << " unfreeze "
                                          << unfreeze << " epoch " << epoch);
          const TrainPhase phase = phase_of(o, epoch);
          EXPECT_EQ(phase.frozen_blocks, frozen_in(o, epoch));
        }
      }
    }
  }
}

// Moments restart with a phase, so a phase must not end where nothing changes, and its first epoch
// must be right: a resumed run decides by it whether the checkpoint's moments are of this phase.
TEST(Schedule, APhaseIsAllNeighbouringEpochsThatTrainTheSame) {
  for (int head : {0, 1, 3, 9}) {
    for (int freeze : {0, 5, kWholeBase}) {
      for (int unfreeze : {-1, 1, 2, 4, 9}) {
        const TrainOptions o = options_of(head, freeze, unfreeze);
        TrainPhase before = phase_of(o, 0);
        EXPECT_EQ(before.first_epoch, 0);
        for (int epoch = 1; epoch < o.epochs; ++epoch) {
          SCOPED_TRACE(testing::Message() << "head " << head << " freeze " << freeze << " unfreeze "
                                          << unfreeze << " epoch " << epoch);
          const TrainPhase phase = phase_of(o, epoch);
          const bool same =
              phase.frozen_blocks == before.frozen_blocks && (epoch < head) == (epoch - 1 < head);
          EXPECT_EQ(phase == before, same);
          EXPECT_EQ(phase.first_epoch, same ? before.first_epoch : epoch);
          before = phase;
        }
      }
    }
  }
}

TEST(Schedule, TrainableAreTheBlocksAboveTheFrozenOnesAndTheHead) {
  const auto trains = [](int frozen, const char* name) {
    ParamSpec p;
    p.name = name;
    return make_network({}).trainable_above(frozen)(p);
  };
  EXPECT_TRUE(trains(0, "features.0.0.weight"));
  EXPECT_FALSE(trains(1, "features.0.0.weight"));
  EXPECT_FALSE(trains(11, "features.10.conv.0.0.weight"));
  EXPECT_TRUE(trains(10, "features.10.conv.0.0.weight"));
  EXPECT_TRUE(trains(2, "features.10.conv.0.0.weight"));  // 10, not 1
  EXPECT_FALSE(trains(kWholeBase, "features.18.1.bias"));
  EXPECT_TRUE(trains(kWholeBase, "head.fc1.weight"));
}

TEST(LearningRate, HeadEpochsRunAtTenTimesTheRate) {
  TrainOptions o = options_of(2, 0, -1);
  o.lr = 0.25;
  for (ScheduleKind kind : {ScheduleKind::Constant, ScheduleKind::Cosine, ScheduleKind::Plateau}) {
    o.schedule = kind;
    for (int epoch : {0, 1})
      for (Index step = 0; step < kSteps; ++step)
        EXPECT_EQ(learning_rate(o, kSteps, epoch, step), 2.5);
  }
}

TEST(LearningRate, WarmUpIsAStraightLineToTheRateItself) {
  TrainOptions o = options_of(1, 0, -1);
  o.lr = 1.0;
  o.warmup = 1.5;  // 12 steps
  for (ScheduleKind kind : {ScheduleKind::Constant, ScheduleKind::Cosine, ScheduleKind::Plateau}) {
    o.schedule = kind;
    for (Index now = 0; now <= 12; ++now)
      EXPECT_NEAR(learning_rate(o, kSteps, 1 + static_cast<int>(now / kSteps), now % kSteps),
                  static_cast<double>(now + 1) / 13.0, test::tolerance<double>(2, 1));
  }
}

TEST(LearningRate, ConstantAndPlateauStayAfterTheWarmUp) {
  TrainOptions o = options_of(0, 0, -1);
  o.lr = 0.5;
  o.warmup = 1;
  for (ScheduleKind kind : {ScheduleKind::Constant, ScheduleKind::Plateau}) {
    o.schedule = kind;
    for (int epoch = 1; epoch < o.epochs; ++epoch)
      EXPECT_EQ(learning_rate(o, kSteps, epoch, 3), 0.5);
  }
}

TEST(LearningRate, CosineStartsAtTheRateHalvesInTheMiddleAndEndsOneStepFromZero) {
  TrainOptions o = options_of(1, 0, -1);
  o.lr = 2.0;
  o.warmup = 1;
  o.schedule = ScheduleKind::Cosine;
  EXPECT_EQ(learning_rate(o, kSteps, 2, 0), 2.0);
  EXPECT_NEAR(learning_rate(o, kSteps, 4, 0), 1.0, test::tolerance<double>(4, 2));
  const double last = 2.0 * 0.5 * (1 + std::cos(std::numbers::pi * 31.0 / 32.0));
  EXPECT_NEAR(learning_rate(o, kSteps, 5, kSteps - 1), last, test::tolerance<double>(4, 2));
  double before = learning_rate(o, kSteps, 2, 0);
  for (Index now = 1; now < 4 * kSteps; ++now) {
    const double rate = learning_rate(o, kSteps, 2 + static_cast<int>(now / kSteps), now % kSteps);
    EXPECT_LT(rate, before);
    EXPECT_GT(rate, 0);
    before = rate;
  }
}

TEST(LearningRate, CosineWithoutWarmUpStartsAtTheRate) {
  TrainOptions o = options_of(0, 0, -1);
  o.warmup = 0;
  EXPECT_EQ(learning_rate(o, kSteps, 0, 0), o.lr);
}

TEST(LearningRate, AWarmUpLongerThanTheRunNeverReachesTheRate) {
  TrainOptions o = options_of(0, 0, -1);
  o.warmup = 100;
  const double last = learning_rate(o, kSteps, 5, kSteps - 1);
  EXPECT_GT(last, 0);
  EXPECT_LT(last, o.lr);
}

TEST(Plateau, HalvesAfterMoreThanTwoBadEpochsInARow) {
  struct Row {
    double loss, factor;
  };
  // Gains below one part in 10^4 are none; the count starts anew after a reduction and a gain.
  const std::vector<Row> rows = {{1.0, 1},       {0.9, 1},    {0.95, 1},    {0.9, 1},
                                 {0.89995, 0.5}, {0.95, 0.5}, {0.95, 0.5},  {0.8, 0.5},
                                 {0.85, 0.5},    {0.85, 0.5}, {0.85, 0.25}, {0.1, 0.25}};
  Plateau plateau;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    plateau.observe(rows[i].loss);
    EXPECT_EQ(plateau.factor, rows[i].factor) << "observation " << i;
  }
  EXPECT_EQ(plateau.best, 0.1);
}

}  // namespace
}  // namespace dfengine
