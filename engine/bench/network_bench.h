// How fast the whole network computes: inference and training steps, on the CPU or a device.
#pragma once

#include "engine/bench/step_cost.h"
#include "engine/bench/timing.h"
#include "engine/bench/workload.h"

namespace dfengine {

struct NetworkTiming {
  Work work = Work::Infer;
  Index batch = 0;
  // One batch. On the CPU by the clock; on a device by events, with batches that lie in its memory.
  Timing step;
  // Devices only: the same by the clock with batches in host memory, as a program has them: copied
  // up, computed, and results back. Training reads its losses every 16 steps.
  Timing fed;
  StepCost cost;            // of the batch, as its plans cut it
  Index planned_bytes = 0;  // arena, prepared weights, parameters, moments, input buffers
  Index device_bytes = 0;   // by how much the device's memory in use grew; 0 on the CPU

  double images_per_second() const;
  double gigabytes_per_second() const;
};

// A network with random weights at batches of so many pictures. Throws UsageError for a batch or
// rounds below 1, Error or DeviceError where memory does not suffice.
NetworkTiming measure_network(const BenchTarget& target, Work work, Index batch);

}  // namespace dfengine
