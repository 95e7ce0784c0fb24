// Runs a model over pictures that come a shard at a time, in memory that does not grow with them.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/predict/answers.h"
#include "engine/data/sets/inputs.h"
#include "engine/model/predictor.h"

namespace dfengine {

struct ScoringOptions {
  std::filesystem::path model;  // for messages
  Views views = Views::One;
  bool stability = false;
  Index max_pixels = kMaxImagePixels;
  bool no_progress = false;
};

struct ScoringCounts {
  Index pictures = 0, unreadable = 0, fake = 0, unsure = 0;
};
// The exit code for bad data, with a message, where pictures could not be read.
void end_if_unreadable(const ScoringCounts& counts);

class Scoring {
 public:
  // model and interrupted must outlive it.
  Scoring(const Model& model, const ScoringOptions& options, const DeviceOptions& device,
          const std::atomic<bool>& interrupted);

  // Hands the answer to every picture of the shard to `use`, in their order; decoding goes on
  // beside the network. An error is printed, too. False where it was interrupted. A shard that
  // cannot be read is one unreadable picture.
  bool run(const InputShard& shard, const Dataset& pictures,
           const std::function<void(const Answer&)>& use);
  bool refuse(const InputShard& shard, const std::string& error,
              const std::function<void(const Answer&)>& use);
  // What all shards had until now, but for those that were passed by with add().
  const ScoringCounts& counts() const { return counts_; }
  double seconds() const;

 private:
  void judge(Answer& answer, std::span<const float> logits) const;
  void emit(const Answer& answer, const std::function<void(const Answer&)>& use);
  void show_progress(const InputShard& shard, Index done, Index total);

  const Model& model_;
  const ScoringOptions options_;
  const std::atomic<bool>& interrupted_;
  ThreadPool pool_;
  const std::unique_ptr<Backend> backend_;
  Predictor predictor_;
  ProgressLine line_;
  ScoringCounts counts_;
  double share_ = 0;  // of all input before this shard
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), shown_ = {};
};

}  // namespace dfengine
