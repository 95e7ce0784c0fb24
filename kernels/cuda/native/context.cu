// The CUDA device: whether there is one, what it is, and how its errors are reported.
#include "kernels/cuda/context.h"

#include <cstdio>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/native/early_launches.cuh"
#include "kernels/cuda/native/nvml.cuh"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {
namespace {

// 13000 -> "13.0"; 0 is what the runtime reports where no driver is installed.
std::string version_text(int version) {
  if (version == 0) return "none";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Asked for when an error is being reported too, so a failure here must not hide that error.
std::string versions() {
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  return "driver " + version_text(driver) + ", runtime " + version_text(runtime);
}

// ", NVIDIA H100", or "" where it cannot be told any more.
std::string device_name() {
  int device = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, device) != cudaSuccess)
    return "";
  return std::string(", ") + properties.name;
}

// What it was compiled for says what the program's code was: the driver can translate code for
// older devices, which then does without what newer ones have.
__global__ void never_launched_kernel() {}

// Of the current device; 0.0 where none answers.
std::pair<int, int> capability() {
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess)
    return {major, minor};
  cudaGetLastError();
  return {};
}

std::string name_and_capability() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) +
         "." + std::to_string(properties.minor);
}

std::string gibibytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

std::string launch_text(const LaunchTimes& times) {
  if (times.early == 0) return "no early launches";
  char text[64];
  std::snprintf(text, sizeof text, "a launch takes %.2f us, early %.2f", times.plain, times.early);
  return text;
}

// Forgets the last error of the runtime, which the next launch check would report again.
std::string full_text(const std::string& reason, std::source_location place, const char* advice) {
  const std::string device = device_name();
  cudaGetLastError();
  return reason + " at " + place.file_name() + ":" + std::to_string(place.line()) + "; " +
         versions() + device + advice;
}

// What the person can do about the failures that are about the machine, not about our code.
const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return "; is the NVIDIA driver installed and new enough (nvidia-smi)? "
             "CUDA_VISIBLE_DEVICES may hide devices";
    case cudaErrorNoKernelImageForDevice:
      return "; rebuild with CMAKE_CUDA_ARCHITECTURES set for this device";
    case cudaErrorMemoryAllocation:
      return "; try a smaller --batch-size, or free the device's memory";
    default:
      return "";
  }
}

}  // namespace

void check(cudaError_t status, const char* call, std::source_location place) {
  if (status == cudaSuccess) return;
  const std::string text = full_text(std::string(call) + " failed: " + cudaGetErrorString(status) +
                                         " (" + cudaGetErrorName(status) + ")",
                                     place, advice(status));
  if (status == cudaErrorMemoryAllocation) throw OutOfDeviceMemory(text);
  throw DeviceError(text);
}

void fail(const std::string& reason, std::source_location place, const char* advice) {
  throw DeviceError(full_text(reason, place, advice));
}

bool available() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count > 0;
  cudaGetLastError();
  return false;
}

bool is_emulated() {
  return false;
}

void require_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
}

void use_device(int number) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  check(cudaSetDevice(number % count), "cudaSetDevice");
}

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

OnDevice::OnDevice(int device) : before_(current_device()) {
  check(cudaSetDevice(device), "cudaSetDevice");
}

OnDevice::~OnDevice() {
  cudaSetDevice(before_);
}

std::string device_summary() {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  const std::string device = name_and_capability();
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  return device + ", " + gibibytes(total_bytes) + " (" + gibibytes(free_bytes) + " free), " +
         versions() + ", " + found_libraries() + ", " + launch_text(launch_times());
}

std::string device_identity() {
  const std::string driver = nvml_driver();
  return name_and_capability() + ", " + (driver.empty() ? "" : driver + ", ") + versions() + ", " +
         found_libraries();
}

DeviceClock device_clock() {
  return nvml_clock();
}

bool has_warpgroups() {
  const auto [major, minor] = capability();
  return major == 9 && minor == 0;
}

bool has_clusters() {
  if (capability().first < 9) return false;
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, never_launched_kernel) == cudaSuccess)
    return attributes.ptxVersion >= 90;
  cudaGetLastError();
  return false;
}

std::size_t shared_memory_limit() {
  int device = 0;
  int bytes = 0;
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ==
          cudaSuccess)
    return static_cast<std::size_t>(bytes);
  cudaGetLastError();
  return kSharedMemoryOfH100;
}

}  // namespace dfengine::cuda
