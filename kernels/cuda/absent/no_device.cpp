// What builds without CUDA have none of, in the stand-in either: a device that answers, and
// libraries.
#include "kernels/cuda/absent/no_device.h"

#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

void no_device() {
  throw DeviceError("no CUDA in this build: rebuild with --preset cuda");
}

bool available() {
  return false;
}

void require_device() {
  no_device();
}

void use_device(int) {}

int current_device() {
  return 0;
}

OnDevice::OnDevice(int) : before_(0) {}

OnDevice::~OnDevice() = default;

std::string device_summary() {
  no_device();
}

std::string device_identity() {
  no_device();
}

DeviceClock device_clock() {
  return {};
}

bool has_warpgroups() {
  return is_emulated();
}

bool has_clusters() {
  return is_emulated();
}

std::size_t shared_memory_limit() {
  return kSharedMemoryOfH100;
}

std::string found_libraries() {
  return "no libraries";
}

struct Libraries::Handles {};
Libraries::Libraries() = default;
Libraries::~Libraries() = default;

std::vector<LibraryKernel> Libraries::pointwise(PointwisePass, StorageType,
                                                const PointwiseProblem&) {
  return {};
}

std::vector<LibraryKernel> Libraries::stem(StorageType, const StemProblem&) {
  return {};
}

}  // namespace dfengine::cuda
