// Inference over prepared pictures: batch norm folded, memory planned, any number of pictures a
// call. On the CPU, or on a device.
#pragma once

#include <map>
#include <memory>

#include "engine/model/model.h"
#include "engine/runtime/device_inference.h"
#include "engine/runtime/executor.h"

namespace dfengine {

class Predictor {
 public:
  // What a run returns: pooled features [C] or logits per picture.
  enum class Output { Pooled, Logits };

  // model, pool and device must outlive the predictor. Without a device it computes in the pool.
  // Logits need a head (UsageError).
  Predictor(Model& model, ThreadPool& pool, Output output, const Device* device = nullptr);

  // Takes the memory that runs of up to n pictures need, which the first such run would do.
  void reserve(Index n);
  // Call after the model's parameters changed.
  void refresh();
  bool on_device() const { return device_ != nullptr; }
  // Values per picture.
  Index width() const { return width_; }
  const Model& model() const { return model_; }
  Index input_size() const { return model_.config.input_size; }
  // images [n, size, size, 3] uint8 RGB, out [n, width()].
  void run(const std::uint8_t* images, Index n, float* out);
  // Pictures of a call of n that go through the network together on the CPU.
  static Index host_batch(Index n);
  // Bytes it holds for its activations and prepared weights.
  Index bytes() const;

 private:
  struct Bound {
    Plan plan;
    Memory arena;
    std::unique_ptr<Executor> executor;
  };
  Bound& bound(Index n);
  void run_on_cpu(const std::uint8_t* images, Index n, float* out);

  Model& model_;
  ThreadPool& pool_;
  Output output_;
  Graph graph_;
  Index width_ = 0;
  std::map<Index, Bound> bound_;  // by batch; on the CPU
  std::unique_ptr<DeviceInference> device_;
};

}  // namespace dfengine
