// The backend that a person asked for.
#pragma once

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"

namespace dfengine {

// pool must outlive it. Of config the CPU takes bf16; in every other precision it computes in
// float. number: of processes of the same run on this machine before this one, which take turns in
// its devices. Throws DeviceError where there is no device, UsageError for a CPU without bf16.
std::unique_ptr<Backend> open_backend(DeviceKind kind, const DeviceConfig& config, ThreadPool& pool,
                                      int number = 0);

}  // namespace dfengine
