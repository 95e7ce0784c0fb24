// The backend that a person asked for.
#pragma once

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"

namespace dfengine {

// pool must outlive it; config is of a CUDA device, element of the CPU. Throws DeviceError where
// there is no device, UsageError for a CPU that does not compute in the element.
std::unique_ptr<Backend> open_backend(DeviceKind kind, const DeviceConfig& config, ThreadPool& pool,
                                      Element element = Element::F32);

}  // namespace dfengine
