// A whole training run on a device: head first, then everything, with checkpoints.
#include <cmath>

#include "tests/engine/train/train_support.h"
#include "tests/support/device.h"
#include "tests/support/thread_ranks.h"

namespace dfengine {
namespace {

using test::ScratchFolder;

// Two pictures of each class to train on and one of each to validate: the stand-in is slow.
void copy_few(const std::filesystem::path& to) {
  for (const auto& [split, count] : {std::pair{"train", 2}, std::pair{"valid", 1}})
    for (const char* name : {"real", "fake"}) {
      const auto from = test::synth_set() / split / name;
      std::filesystem::create_directories(to / split / name);
      std::set<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(from))
        files.insert(entry.path());
      auto file = files.begin();
      for (int i = 0; i < count; ++i, ++file)
        std::filesystem::copy_file(*file, to / split / name / file->filename());
    }
}

TrainOptions few_options(const std::filesystem::path& folder, const char* run) {
  TrainOptions o = test::tiny_options(folder / run);
  o.data = folder / "set";
  o.batch_size = 2;
  o.head_epochs = 1;
  return o;
}

TrainOptions device_options(const std::filesystem::path& folder, const char* run,
                            Precision precision) {
  TrainOptions o = few_options(folder, run);
  o.device = DeviceKind::Cuda;
  o.device_config = {precision, true, true};
  return o;
}

TEST(DeviceTrain, ARunEqualsTheCpus) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const ScratchFolder scratch;
  copy_few(scratch.path() / "set");
  const TrainResult on_cpu = test::train_to_end(few_options(scratch.path(), "cpu"));

  const TrainResult result =
      test::train_to_end(device_options(scratch.path(), "device", Precision::Fp32));
  ASSERT_EQ(result.state.rows.size(), 2u);
  // The head's epoch: features of the whole network, then two steps of the head.
  EXPECT_NEAR(result.state.rows[0].train_loss, on_cpu.state.rows[0].train_loss,
              test::network_tolerance<float>(54, 1280, 1));
  EXPECT_NEAR(result.state.rows[0].valid_loss, on_cpu.state.rows[0].valid_loss,
              test::network_tolerance<float>(54, 1280, 1));
  EXPECT_EQ(result.state.scaler.step, 2u);
  EXPECT_EQ(result.state.rows[1].loss_scale, 1);
}

TEST(DeviceTrain, AResumedRunInHalfEqualsTheUninterruptedOne) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const ScratchFolder scratch;
  copy_few(scratch.path() / "set");
  const TrainOptions whole = device_options(scratch.path(), "whole", Precision::Fp16);
  const TrainResult result = test::train_to_end(whole);
  ASSERT_EQ(result.state.rows.size(), 2u);
  for (const EpochRow& row : result.state.rows) EXPECT_TRUE(std::isfinite(row.train_loss));
  // Two steps an epoch, and the scale halves with each that is left out.
  const EpochRow& last = result.state.rows[1];
  const auto skipped = result.state.rows[0].skipped + last.skipped;
  EXPECT_EQ(last.loss_scale, kInitialLossScale / std::exp2(skipped));
  EXPECT_EQ(result.state.scaler.step, static_cast<std::uint64_t>(2 - last.skipped));

  TrainOptions parts = device_options(scratch.path(), "parts", Precision::Fp16);
  ASSERT_EQ(test::train_steps(parts, 3).end, TrainEnd::Interrupted);
  ASSERT_EQ(test::train_to_end(parts, true).end, TrainEnd::Finished);
  test::expect_same_run(whole.output, parts.output);
}

// The head's epoch on features, then the whole network, with validation: ranks are threads.
TEST(RanksInStandIn, AnyNumberGivesTheSameRun) {
  if (!cuda::is_emulated()) GTEST_SKIP() << "ranks are threads in the stand-in alone";
  DF_SLOW_UNDER_SANITIZERS();
  const ScratchFolder scratch;
  copy_few(scratch.path() / "set");
  const auto run_on = [&](int ranks, const char* name) {
    TrainOptions o = device_options(scratch.path(), name, Precision::Fp16);
    o.slices = 2;
    const std::atomic<bool> never{false};
    test::ThreadRanks::run(ranks, [&](Communicator& communicator) {
      train(o, false, {}, never, std::nullopt, &communicator);
    });
    return o.output;
  };
  test::expect_same_run(run_on(1, "one"), run_on(2, "two"));
}

}  // namespace
}  // namespace dfengine
