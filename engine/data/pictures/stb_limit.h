// How much memory the picture decoder may ask for at once.
#pragma once

#include <cstddef>

namespace dfengine {

// While alive, this thread's stb_image allocations above `bytes` fail, and with them the decoding.
// Without it a few hundred hostile bytes can make stb reserve gigabytes (a PNG chunk length, a
// deflate bomb).
class StbAllocationLimit {
 public:
  explicit StbAllocationLimit(std::size_t bytes);
  ~StbAllocationLimit();
  StbAllocationLimit(const StbAllocationLimit&) = delete;
  StbAllocationLimit& operator=(const StbAllocationLimit&) = delete;
};

}  // namespace dfengine
