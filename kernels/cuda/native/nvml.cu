#include "kernels/cuda/native/nvml.cuh"

#include <cuda_runtime_api.h>

#include "kernels/base/error.h"
#include "kernels/cuda/tuning/shared_library.h"

// As nvml.h has them, which the toolkit's packages do not all bring.
extern "C" {
using NvmlDevice = struct nvmlDevice_st*;
int nvmlInit_v2();
int nvmlSystemGetDriverVersion(char* text, unsigned length);
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, NvmlDevice* device);
int nvmlDeviceGetClockInfo(NvmlDevice device, int clock, unsigned* mhz);
int nvmlDeviceGetMaxClockInfo(NvmlDevice device, int clock, unsigned* mhz);
}

namespace dfengine::cuda {
namespace {

constexpr int kSuccess = 0, kClockOfMultiprocessors = 1;

struct Nvml {
  SharedLibrary library{"libnvidia-ml.so.1"};
  DF_FUNCTION_OF(library, nvmlInit_v2);
  DF_FUNCTION_OF(library, nvmlSystemGetDriverVersion);
  DF_FUNCTION_OF(library, nvmlDeviceGetHandleByPciBusId_v2);
  DF_FUNCTION_OF(library, nvmlDeviceGetClockInfo);
  DF_FUNCTION_OF(library, nvmlDeviceGetMaxClockInfo);
};

// The library, or null where it cannot be used.
const Nvml* nvml() try {
  static const Nvml opened;
  static const bool works = opened.nvmlInit_v2() == kSuccess;
  return works ? &opened : nullptr;
} catch (const DeviceError&) {
  return nullptr;
}

}  // namespace

std::string nvml_driver() {
  char text[96] = {};
  const Nvml* const lib = nvml();
  return lib && lib->nvmlSystemGetDriverVersion(text, sizeof text) == kSuccess ? text : "";
}

DeviceClock nvml_clock() {
  const Nvml* const lib = nvml();
  int ordinal = 0;
  char bus[32] = {};
  NvmlDevice device = nullptr;
  if (lib == nullptr || cudaGetDevice(&ordinal) != cudaSuccess ||
      cudaDeviceGetPCIBusId(bus, sizeof bus, ordinal) != cudaSuccess ||
      lib->nvmlDeviceGetHandleByPciBusId_v2(bus, &device) != kSuccess)
    return {};
  DeviceClock clock;
  const auto ask = [&](auto* function, unsigned& mhz) {
    if (function(device, kClockOfMultiprocessors, &mhz) != kSuccess) mhz = 0;
  };
  ask(lib->nvmlDeviceGetClockInfo, clock.mhz);
  ask(lib->nvmlDeviceGetMaxClockInfo, clock.most_mhz);
  return clock;
}

}  // namespace dfengine::cuda
