// How whatever needs a device fails in a build without CUDA.
#pragma once

namespace dfengine::cuda {

// Throws DeviceError, which says how to get such a build.
[[noreturn]] void no_device();

}  // namespace dfengine::cuda
