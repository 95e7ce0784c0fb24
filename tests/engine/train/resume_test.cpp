// A run that was interrupted and went on equals one that never stopped, bit for bit; and what a
// resumed run refuses.
#include <gtest/gtest.h>

#include "engine/data/pictures/image.h"
#include "kernels/base/error.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

using test::expect_same_run;
using test::kTinySteps;
using test::ScratchFolder;
using test::tiny_options;
using test::train_steps;
using test::train_to_end;

// How a case changes tiny_options, and the steps after which it stops.
struct Kind {
  const char* name;
  void (*change)(TrainOptions&);
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class Resume : public testing::TestWithParam<Kind> {
 protected:
  TrainOptions options(const char* folder) const {
    TrainOptions o = tiny_options(scratch_.path() / folder);
    GetParam().change(o);
    return o;
  }
  ScratchFolder scratch_;
};

TEST_P(Resume, EqualsTheUninterruptedRunWhenStoppedOnce) {
  const TrainOptions whole = options("whole");
  ASSERT_EQ(train_to_end(whole).end, TrainEnd::Finished);
  for (int steps : {3, 7}) {
    SCOPED_TRACE(testing::Message() << "interrupted after step " << steps);
    const TrainOptions o = options(("at" + std::to_string(steps)).c_str());
    const TrainResult first = train_steps(o, steps);
    ASSERT_EQ(first.end, TrainEnd::Interrupted);
    ASSERT_EQ(first.state.total_steps, static_cast<std::uint64_t>(steps));
    ASSERT_EQ(train_to_end(o, true).end, TrainEnd::Finished);
    expect_same_run(whole.output, o.output);
  }
}

// After the first step, in the middle, at the last step of an epoch before its validation, at the
// first of the next one, and at the very last.
TEST_P(Resume, EqualsTheUninterruptedRunWhenStoppedAtEveryStep) {
  const TrainOptions whole = options("whole"), o = options("parts");
  train_to_end(whole);
  TrainResult result = train_steps(o, 1);
  int parts = 1;
  while (result.end == TrainEnd::Interrupted) {
    result = train_steps(o, 1, true);
    ++parts;
  }
  EXPECT_EQ(parts, kTinySteps * o.epochs + 1);
  expect_same_run(whole.output, o.output);
}

// A kill leaves what the epoch's end wrote. Its moments are not the next phase's.
TEST_P(Resume, EqualsTheUninterruptedRunWhenKilledBetweenEpochs) {
  struct Kill {};
  const TrainOptions whole = options("whole"), o = options("killed");
  train_to_end(whole);
  TrainObserver observer;
  observer.epoch = [](const EpochRow&, bool) { throw Kill(); };
  const std::atomic<bool> never{false};
  EXPECT_THROW(train(o, false, observer, never), Kill);
  for (int epoch = 1; epoch < o.epochs; ++epoch) {
    const TrainState state = load_checkpoint(o.output / kCheckpoint).state;
    EXPECT_EQ(state.epoch, epoch);
    EXPECT_EQ(state.step, 0);
    EXPECT_THROW(train(o, true, observer, never), Kill);
  }
  EXPECT_EQ(train_to_end(o, true).end, TrainEnd::Finished);
  expect_same_run(whole.output, o.output);
}

// It stops where no gradients wait.
TEST(ResumeGroups, EqualsTheUninterruptedRun) {
  const ScratchFolder scratch;
  const auto options = [&](const char* folder) {
    TrainOptions o = tiny_options(scratch.path() / folder);
    o.grad_accum_steps = 2;  // of 5 batches: 2, 2 and 1
    o.model_ema = true;
    return o;
  };
  const TrainOptions whole = options("whole"), o = options("parts");
  ASSERT_EQ(train_to_end(whole).end, TrainEnd::Finished);
  std::vector<std::uint64_t> stops;
  TrainResult result = train_steps(o, 1);
  while (result.end == TrainEnd::Interrupted) {
    stops.push_back(result.state.total_steps);
    result = train_steps(o, 1, true);
  }
  EXPECT_EQ(stops, (std::vector<std::uint64_t>{2, 4, 5, 7, 9, 10}));
  EXPECT_EQ(load_checkpoint(o.output / kCheckpoint).state.scaler.step, 6u);
  expect_same_run(whole.output, o.output);
}

// A finished run that others learn from.
const std::string& teacher() {
  static const ScratchFolder scratch;
  static const std::string folder = [] {
    TrainOptions o = tiny_options(scratch.path() / "teacher");
    o.seed += 1;
    train_to_end(o);
    return o.output.string();
  }();
  return folder;
}

constexpr Kind kKinds[] = {
    {"images", [](TrainOptions& o) { o.augment.hflip = true; }},
    {"images_adamw_plateau",
     [](TrainOptions& o) {
       o.optimizer = OptimizerKind::AdamW;
       o.weight_decay = 0.05;
       o.schedule = ScheduleKind::Plateau;
       o.augment.hflip = false;
       o.freeze = 5;
     }},
    {"features_hflip", [](TrainOptions& o) { o.freeze = kWholeBase; }},
    {"features",
     [](TrainOptions& o) {
       o.freeze = kWholeBase;
       o.augment.hflip = false;
     }},
    {"head_then_everything", [](TrainOptions& o) { o.head_epochs = 1; }},
    {"every_augmentation_and_a_disk_cache",
     [](TrainOptions& o) {
       o.head_epochs = 1;
       o.cache = CacheMode::Disk;
       o.augment = {.hflip = true,
                    .scale = {0.5, 1},
                    .color_jitter = {0.4, 0.4, 0.4, 0.1},
                    .downscale_prob = 0.5,
                    .blur_prob = 0.5,
                    .jpeg_prob = 0.5,
                    .erase_prob = 0.5};
     }},
    {"average_clip_mixup_and_the_like",
     [](TrainOptions& o) {
       o.head_epochs = 1;
       o.model_ema = true;
       o.clip_grad = 0.5;
       o.mixup = 0.4;
       o.smoothing = 0.1;
       o.layer_decay = 0.8;
       o.grad_checkpoint = true;
       o.class_weights = parse_class_weights("balanced");
       o.augment = {.hflip = true, .vflip = true, .rot90 = true, .patch_mask = 0.5};
     }},
    {"windows_and_a_stem_of_stride_1",
     [](TrainOptions& o) {
       o.crop = Crop::Random;
       o.img_size = 96;
       o.eval_size = 128;
       o.stem_stride = 1;
     }},
    {"student",
     [](TrainOptions& o) {
       o.teachers = {teacher()};
       o.teacher_temperature = 2;
       o.augment.hflip = true;
     }},
    {"head_then_frozen_then_everything",
     [](TrainOptions& o) {
       o.head_epochs = 1;
       o.freeze = kWholeBase;
       o.unfreeze_at_epoch = 3;
       o.epochs = 3;
     }},
};
INSTANTIATE_TEST_SUITE_P(Kinds, Resume, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(ResumeRun, GoesOnWithOtherThreadsAndAMovedFolder) {
  const ScratchFolder scratch;
  const TrainOptions whole = tiny_options(scratch.path() / "whole");
  train_to_end(whole);
  TrainOptions o = tiny_options(scratch.path() / "parts");
  train_steps(o, 3);
  std::filesystem::rename(o.output, scratch.path() / "moved");
  TrainOptions rest;
  rest.output = scratch.path() / "moved";
  rest.threads = 2;
  EXPECT_EQ(train_to_end(rest, true).end, TrainEnd::Finished);
  expect_same_run(whole.output, rest.output);
}

TEST(ResumeRun, LeavesWholeFilesBehindWhenInterrupted) {
  const ScratchFolder scratch;
  const TrainOptions early = tiny_options(scratch.path() / "early");
  train_steps(early, 2);
  test::expect_files(early.output, {kCheckpoint, kArguments});
  const Checkpoint c = load_checkpoint(early.output / kCheckpoint);
  EXPECT_EQ(c.state.epoch, 0);
  EXPECT_EQ(c.state.step, 2);
  EXPECT_EQ(c.state.seen, 20);
  EXPECT_EQ(c.state.scaler.step, 2);

  const TrainOptions late = tiny_options(scratch.path() / "late");
  train_steps(late, 7);
  test::expect_files(late.output,
                     {kCheckpoint, kArguments, kBestModel, kResults, kValidPredictions});
  load_checkpoint(late.output / kCheckpoint);
  load_detector(late.output / kBestModel);
  EXPECT_EQ(test::results_without_seconds(late.output).size(), 2U);
  const auto args = nlohmann::json::parse(test::slurp(late.output / kArguments));
  EXPECT_EQ(args.at("epochs"), 2);
}

TEST(ResumeRun, OfAFinishedRunChangesNothing) {
  const ScratchFolder scratch;
  const TrainOptions o = tiny_options(scratch.path() / "run");
  train_to_end(o);
  const std::string best = test::slurp(o.output / kBestModel);
  const std::string last = test::slurp(o.output / kCheckpoint);
  EXPECT_EQ(train_to_end(o, true).end, TrainEnd::Finished);
  EXPECT_TRUE(test::slurp(o.output / kBestModel) == best);
  EXPECT_TRUE(test::slurp(o.output / kCheckpoint) == last);
}

TEST(ResumeRun, RefusesOtherPictures) {
  const ScratchFolder scratch;
  const std::filesystem::path data = scratch.path() / "data";
  std::filesystem::copy(test::synth_set(), data, std::filesystem::copy_options::recursive);
  TrainOptions o = tiny_options(scratch.path() / "run");
  o.data = data;
  train_steps(o, 1);
  const auto refused = [&](const char* what) {
    SCOPED_TRACE(what);
    const std::string text = test::message_of<DataError>([&] { train_to_end(o, true); });
    EXPECT_NE(text.find(data.string()), std::string::npos) << text;
  };
  const std::filesystem::path some = data / "train/real/00000.jpg";
  std::filesystem::copy(some, data / "train/fake/more.jpg");
  refused("one more");
  std::filesystem::remove(data / "train/fake/more.jpg");
  std::filesystem::rename(some, data / "train/fake/00000.jpg");
  refused("another label");
  std::filesystem::rename(data / "train/fake/00000.jpg", data / "train/real/renamed.jpg");
  refused("another name");
  std::filesystem::rename(data / "train/real/renamed.jpg", some);
  EXPECT_EQ(train_to_end(o, true).end, TrainEnd::Finished);
}

TEST(ResumeRun, FindsThePicturesInAnotherFolder) {
  const ScratchFolder scratch;
  const TrainOptions whole = tiny_options(scratch.path() / "whole");
  train_to_end(whole);
  TrainOptions o = tiny_options(scratch.path() / "run");
  train_steps(o, 3);
  o.data = scratch.path() / "data";
  std::filesystem::copy(test::synth_set(), o.data, std::filesystem::copy_options::recursive);
  train_to_end(o, true);
  expect_same_run(whole.output, o.output);
}

}  // namespace
}  // namespace dfengine
