// The way of a batch to the device: two pinned buffers and two device buffers take turns, so that
// one batch is copied while the device still computes on the other.
#pragma once

#include <array>
#include <span>

#include "engine/runtime/device.h"

namespace dfengine {

class InputSlots {
 public:
  // Part of a batch: from host memory to a place of the plan.
  struct Part {
    const void* host = nullptr;
    void* device = nullptr;
    Index bytes = 0;
  };

  // bytes: of the largest batch, all parts together.
  InputSlots(const Device& device, Index bytes);

  // Copies the parts out of host memory before it returns, and queues their way to the device. What
  // is queued on device.compute() afterwards finds them in place. Waits only where the batch before
  // the last has not left its pinned buffer yet.
  void feed(std::span<const Part> parts);
  Index bytes() const { return 2 * bytes_; }

 private:
  // Every part begins at a multiple of this many bytes.
  static constexpr Index kAlignment = 256;

  struct Slot {
    cuda::PinnedMemory pinned;
    cuda::DeviceMemory staged;
    cuda::OwnedEvent uploaded, consumed;
  };

  const Device& device_;
  Index bytes_;
  std::array<Slot, 2> slots_;
  std::size_t next_ = 0;
};

}  // namespace dfengine
