// A CUDA device as the engine uses it: the queues it works with, and how its numbers are stored.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/tuner.h"
#include "layers/layer.h"

namespace dfengine {

// Of activations, their gradients and the weights that convolutions read. Sums, statistics, the
// head, the loss, master weights and moments are float in all of them.
enum class Precision { Fp16, Bf16, Fp32 };

// "fp16", "bf16" or "fp32"; UsageError otherwise.
Precision parse_precision(const std::string& name);
const char* name_of(Precision precision);
Element element_of(Precision precision);

struct DeviceConfig {
  Precision precision = Precision::Fp16;
  // Replay steps as CUDA graphs; false: launch kernel by kernel. The same bits for equal choices.
  bool graphs = true;
  // Choose kernels by the rule. Else they are timed when a plan is built: the fastest may be
  // another one in the next process, whose sums then differ in the last bits.
  bool deterministic = false;
  bool operator==(const DeviceConfig&) const = default;
};

class Device {
 public:
  // Throws DeviceError where there is none.
  explicit Device(const DeviceConfig& config);

  const DeviceConfig& config() const { return config_; }
  Element element() const { return element_of(config_.precision); }
  cuda::Stream compute() const { return compute_.get(); }
  cuda::Stream copy() const { return copy_.get(); }
  // For plans; null: by the rule.
  cuda::Tuner* tuner() const { return tuner_.get(); }

 private:
  DeviceConfig config_;
  cuda::OwnedStream compute_, copy_;
  std::unique_ptr<cuda::Tuner> tuner_;
};

}  // namespace dfengine
