// Memory that begins as zeros and on a cache line, and how much of it this process holds.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/base/shape.h"

namespace dfengine {

// Gives mapped memory back to the system.
struct Unmap {
  Index bytes = 0;
  void operator()(std::byte* p) const;
};

class Memory {
 public:
  Memory() = default;
  // Throws OutOfMemory naming the size when the system does not have that much.
  explicit Memory(Index bytes);
  std::byte* data() const { return data_.get(); }
  Index bytes() const { return bytes_; }

 private:
  std::unique_ptr<std::byte, Unmap> data_;
  Index bytes_ = 0;
};

// The following are in bytes, and 0 where the system does not say.
// The most memory that this process ever held (VmHWM).
Index peak_resident_bytes();
// The memory that the system could still give without swapping (MemAvailable).
Index available_bytes();

}  // namespace dfengine
