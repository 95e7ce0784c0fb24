#include "engine/runtime/input_slots.h"

#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {

InputSlots::InputSlots(const Device& device, Index bytes)
    // Room for the gaps between a few parts.
    : device_(device), bytes_(bytes + 4 * kAlignment) {
  for (Slot& slot : slots_)
    slot = {cuda::allocate_pinned(bytes_), cuda::allocate_device(bytes_), cuda::make_event(),
            cuda::make_event()};
}

void InputSlots::feed(std::span<const Part> parts) {
  Slot& slot = slots_[next_++ % slots_.size()];
  cuda::synchronize(slot.uploaded);
  Index end = 0;
  const auto place = [&](const Part& part) {
    const Index at = end;
    end = (at + part.bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (end > bytes_) throw Error("input slots: the batch is larger than planned");
    return at;
  };
  auto* pinned = static_cast<std::byte*>(slot.pinned.get());
  for (const Part& part : parts)
    std::memcpy(pinned + place(part), part.host, static_cast<std::size_t>(part.bytes));

  cuda::wait_for(device_.copy(), slot.consumed);
  cuda::upload(device_.copy(), slot.staged.get(), slot.pinned.get(), end);
  cuda::record(slot.uploaded, device_.copy());

  cuda::wait_for(device_.compute(), slot.uploaded);
  end = 0;
  auto* staged = static_cast<std::byte*>(slot.staged.get());
  for (const Part& part : parts)
    cuda::copy_on_device(device_.compute(), part.device, staged + place(part), part.bytes);
  cuda::record(slot.consumed, device_.compute());
}

}  // namespace dfengine
