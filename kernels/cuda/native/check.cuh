// The one way a failed CUDA call becomes an exception.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <string>

namespace dfengine::cuda {

// Throws DeviceError (OutOfDeviceMemory where that is it) with the call's text, the place it stands
// at, CUDA's reason, the driver's and runtime's versions and the device's name, unless status is
// cudaSuccess.
void check(cudaError_t status, const char* call,
           std::source_location place = std::source_location::current());

// Throws DeviceError with the reason, the place, versions and device, and the advice. Both forget
// the last error of the runtime.
[[noreturn]] void fail(const std::string& reason, std::source_location place,
                       const char* advice = "");

}  // namespace dfengine::cuda
