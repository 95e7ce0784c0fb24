// The way of a batch to the device: two pinned buffers and two device buffers take turns, so that
// one batch is copied while the device still computes on the other.
#pragma once

#include <array>

#include "engine/runtime/backend.h"
#include "kernels/base/thread_pool.h"
#include "kernels/cuda/runtime.h"

namespace dfengine {

class InputSlots final : public Feed {
 public:
  // bytes: of the largest batch, all parts together.
  InputSlots(cuda::Stream compute, cuda::Stream copy, Index bytes);

  // Copies the parts out of host memory before it returns, and queues their way to the device. What
  // is queued on the compute stream afterwards finds them in place. Waits only where the batch
  // before the last has not left its pinned buffer yet.
  void put(std::span<const Part> parts) override;
  Index bytes() const override { return 2 * bytes_; }

 private:
  // Every part begins at a multiple of this many bytes.
  static constexpr Index kAlignment = 256;

  struct Slot {
    cuda::PinnedMemory pinned;
    cuda::DeviceMemory staged;
    cuda::OwnedEvent uploaded, consumed;
  };

  void copy(const Part& part, std::byte* to);

  cuda::Stream compute_, copy_;
  Index bytes_;
  ThreadPool copiers_;
  std::array<Slot, 2> slots_;
  std::size_t turn_ = 0;
};

}  // namespace dfengine
