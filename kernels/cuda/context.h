// What the rest of dfengine may ask about CUDA without seeing a CUDA header. Builds without CUDA
// have these functions too (kernels/cuda/absent, and kernels/cuda/emulated for tests).
#pragma once

#include <cstddef>
#include <string>

namespace dfengine::cuda {

// True when this build has CUDA and at least one device answers. Never throws.
bool available();

// True in the tests of builds without CUDA, where device kernels run in a stand-in on the CPU: good
// for their arithmetic and indexing, thousands of times too slow for work.
bool is_emulated();

// Throws DeviceError when this build has no CUDA, or no device answers; the message says which.
void require_device();

// Makes this thread's current device the one of a process, where `number` others of the same run
// were started on the machine before it: they take turns in the devices that answer. Throws as
// require_device does.
void use_device(int number);

// The calling thread's current device; 0 where none answers.
int current_device();
// While it lives, `device` is the calling thread's current one. Throws DeviceError.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_;
};

// One line about the current device: name, compute capability, memory, the versions of driver,
// runtime and cuBLASLt, which it opens to ask. Throws as require_device does.
std::string device_summary();

// The current device and what computes on it: name, compute capability, the versions of driver,
// runtime and cuBLASLt. What was measured or tried holds as long as this stays the same. Opens the
// library to ask. Throws as require_device does.
std::string device_identity();

// The clock of the multiprocessors, as it is now and at most; 0 where the driver does not say.
struct DeviceClock {
  unsigned mhz = 0, most_mhz = 0;
};
DeviceClock device_clock();

// Bytes of shared memory that a block of the current device may have: of an A100 163 KiB, of an RTX
// 3090 or 4090 99 KiB. Where no device answers it is an H100's, for which plans to look at are
// made.
constexpr std::size_t kSharedMemoryOfH100 = 227 << 10;
std::size_t shared_memory_limit();

// Whether four warps of the current device can multiply together from shared memory (wgmma.cuh):
// compute capability 9.0 alone. False where no device answers; true in the stand-in.
bool has_warpgroups();
// Whether blocks of the current device can run in clusters, and kernels come before others have
// ended: from compute capability 9.0 on, where the program has code for it. False where no device
// answers; true in the stand-in.
bool has_clusters();

}  // namespace dfengine::cuda
