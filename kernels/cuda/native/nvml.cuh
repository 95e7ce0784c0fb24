// What NVIDIA's management library says of the current device. It comes with the driver; where it
// is absent, as in some containers, nothing is said.
#pragma once

#include <string>

#include "kernels/cuda/context.h"

namespace dfengine::cuda {

// "580.65.06", or "".
std::string nvml_driver();
DeviceClock nvml_clock();

}  // namespace dfengine::cuda
