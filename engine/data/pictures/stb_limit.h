// How much memory the picture decoder may ask for at once.
#pragma once

#include <cstddef>

namespace dfengine {

// While it lives, this thread's stb_image allocations above `bytes` fail, and with them the
// decoding. Without it a few hundred hostile bytes, such as a false PNG chunk length or a deflate
// bomb, can make stb reserve gigabytes.
class StbAllocationLimit {
 public:
  explicit StbAllocationLimit(std::size_t bytes);
  ~StbAllocationLimit();
  // Whether an allocation below the limit has failed.
  bool refused_by_system() const;
  StbAllocationLimit(const StbAllocationLimit&) = delete;
  StbAllocationLimit& operator=(const StbAllocationLimit&) = delete;
};

}  // namespace dfengine
