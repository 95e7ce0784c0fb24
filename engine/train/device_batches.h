// Training batches on a CUDA device: steps are queued, and their sums are read every few.
#pragma once

#include "engine/runtime/device_training.h"
#include "engine/train/batch_runner.h"

namespace dfengine {

class DeviceBatches final : public BatchRunner {
 public:
  DeviceBatches(Graph graph, std::string input, Spec sample, const StepsInput& in);

  StepResult run(const void* samples, const float* targets, Index n,
                 const StepState& state) override;
  bool updates_parameters() const override { return true; }
  StepResult collect() override;
  void to_host() override;
  Index bytes() const override { return training_.bytes(); }

 private:
  // Reading the sums waits for the device: seldom enough to cost nothing, often enough to show.
  static constexpr int kReadEvery = 16;

  const StepsInput in_;
  DeviceTraining training_;
  int unread_ = 0;
};

}  // namespace dfengine
