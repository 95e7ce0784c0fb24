// The backend that a person asked for.
#pragma once

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"

namespace dfengine {

// pool must outlive it. Of config the CPU takes bf16; in every other precision it computes in float.
// Throws DeviceError where there is no device, UsageError for a CPU without bf16.
std::unique_ptr<Backend> open_backend(DeviceKind kind, const DeviceConfig& config,
                                      ThreadPool& pool);

}  // namespace dfengine
