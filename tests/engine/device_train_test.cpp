// A whole training run on a device: head first, then everything, with checkpoints.
#include "tests/engine/train_support.h"
#include "tests/support/device.h"

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

TEST(DeviceTrain, ARunEqualsTheCpusAndAResumedOneItself) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const ScratchFolder scratch;
  copy_few(scratch.path() / "set");
  const TrainResult on_cpu = test::train_to_end(few_options(scratch.path(), "cpu"));

  TrainOptions whole = few_options(scratch.path(), "whole");
  whole.device = DeviceKind::Cuda;
  whole.device_config = {Precision::Fp32, true, true};
  const TrainResult result = test::train_to_end(whole);
  ASSERT_EQ(result.state.rows.size(), 2u);
  // The head's epoch: features of the whole network, then two steps of the head.
  EXPECT_NEAR(result.state.rows[0].train_loss, on_cpu.state.rows[0].train_loss,
              test::network_tolerance<float>(54, 1280, 1));
  EXPECT_NEAR(result.state.rows[0].valid_loss, on_cpu.state.rows[0].valid_loss,
              test::network_tolerance<float>(54, 1280, 1));
  EXPECT_EQ(result.state.scaler.step, 2u);

  TrainOptions parts = whole;
  parts.output = scratch.path() / "parts";
  ASSERT_EQ(test::train_steps(parts, 3).end, TrainEnd::Interrupted);
  ASSERT_EQ(test::train_to_end(parts, true).end, TrainEnd::Finished);
  test::expect_same_run(whole.output, parts.output);
}

}  // namespace
}  // namespace dfengine
