// A network in inference form on a device, for any number of pictures a call: what Predictor
// computes with when it is given a device.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/runtime/device_executor.h"
#include "engine/runtime/input_slots.h"
#include "layers/graph.h"

namespace dfengine {

class DeviceInference {
 public:
  // graph: input "images", an output of this name. store and device must outlive it.
  DeviceInference(const Graph& graph, std::string output, Index input_size,
                  const ParameterStore& store, const Device& device);

  // Plans and memory for calls of up to n pictures.
  void reserve(Index n);
  // Call after the store's values changed.
  void refresh();
  // images [n, size, size, 3] uint8 RGB, out [n, width] float; waits.
  void run(const std::uint8_t* images, Index n, float* out);
  // Queues the same on images that lie on the device, and leaves the results there: for
  // measurements.
  void queue(const void* images, Index n);
  Index bytes() const;
  // Pictures of a call of n that go through the network together.
  static Index batch_for(Index n);

 private:
  // Pictures that go through the network together: enough to fill a large GPU. Smaller calls take
  // the next power of two, with unused rows at the end.
  static constexpr Index kLargestBatch = 256;

  struct Bound {
    Plan plan;
    cuda::DeviceMemory arena;
    std::unique_ptr<DeviceExecutor> executor;
    cuda::OwnedGraph captured;
  };
  Bound& bound(Index batch);
  void launch(Bound& b);

  Graph graph_;
  std::string output_;
  Index input_size_;
  const ParameterStore& store_;
  const Device& device_;
  DeviceParameters parameters_;
  std::unique_ptr<InputSlots> slots_;
  std::map<Index, Bound> bound_;
};

}  // namespace dfengine
