// Shared memory beyond the 48 KiB that a kernel has without asking.
#pragma once

#include <cstddef>

namespace dfengine::cuda {

// Lets the kernel have so many bytes of dynamic shared memory on the current device, and all that
// the cache can give. What it may have is the kernel's and not a launch's: several threads start it
// with different sizes, so that it only ever grows. Throws DeviceError under `name`.
void allow_shared_memory(const char* name, const void* kernel, std::size_t bytes);

}  // namespace dfengine::cuda
