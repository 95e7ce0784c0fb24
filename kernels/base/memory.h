// Bytes that are owned, zeroed and aligned to cache lines.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/base/shape.h"

namespace dfengine {

// Gives a mapping back to the system.
struct Unmap {
  Index bytes = 0;
  void operator()(std::byte* p) const;
};

class Memory {
 public:
  Memory() = default;
  // Throws Error naming the size when the system has not that much.
  explicit Memory(Index bytes);
  std::byte* data() const { return data_.get(); }
  Index bytes() const { return bytes_; }

 private:
  std::unique_ptr<std::byte, Unmap> data_;
  Index bytes_ = 0;
};

// The most memory that this process ever held, in bytes (VmHWM); 0 where the system does not say.
Index peak_resident_bytes();
// What the system could still give without swapping (MemAvailable); 0 where it does not say.
Index available_bytes();
// What this process holds now (VmRSS), likewise.
Index resident_bytes();

}  // namespace dfengine
