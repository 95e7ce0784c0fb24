#include "engine/runtime/cuda/input_slots.h"

#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {

InputSlots::InputSlots(cuda::Stream compute, cuda::Stream copy, Index bytes)
    // Room for the gaps between a few parts.
    : compute_(compute), copy_(copy), bytes_(bytes + 4 * kAlignment) {
  for (Slot& slot : slots_)
    slot = {cuda::allocate_pinned(bytes_), cuda::allocate_device(bytes_), cuda::make_event(),
            cuda::make_event()};
}

void InputSlots::put(std::span<const Part> parts) {
  Slot& slot = slots_[turn_++ % slots_.size()];
  cuda::synchronize(slot.uploaded);
  Index end = 0;
  const auto place = [&](const Part& part) {
    const Index begin = end;
    end = round_up(begin + part.bytes, kAlignment);
    if (end > bytes_) throw Error("input slots: the batch is larger than planned");
    return begin;
  };
  std::byte* pinned = Place{slot.pinned.get()}.as<std::byte>();
  for (const Part& part : parts) std::memcpy(pinned + place(part), part.host, at(part.bytes));

  cuda::wait_for(copy_, slot.consumed);
  cuda::upload(copy_, slot.staged.get(), slot.pinned.get(), end);
  cuda::record(slot.uploaded, copy_);

  cuda::wait_for(compute_, slot.uploaded);
  end = 0;
  const std::byte* staged = Place{slot.staged.get()}.as<std::byte>();
  for (const Part& part : parts)
    cuda::copy_on_device(compute_, part.to, staged + place(part), part.bytes);
  cuda::record(slot.consumed, compute_);
}

}  // namespace dfengine
