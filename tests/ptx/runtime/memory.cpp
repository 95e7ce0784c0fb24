// CUDA's runtime: memory, copies, and what the device says of itself.
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/report.h"
#include "tests/ptx/runtime/runtime.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMemory = std::size_t{16} << 30;
constexpr int kMajor = 9;        // of its compute capability
constexpr int kVersion = 13000;  // 13.0

std::map<const std::byte*, std::size_t>& pinned() {
  static std::map<const std::byte*, std::size_t> made;
  return made;
}

bool is_pinned(const void* p, std::size_t bytes) {
  const auto* const first = static_cast<const std::byte*>(p);
  auto next = pinned().upper_bound(first);
  if (next == pinned().begin()) return false;
  --next;
  return first + bytes <= next->first + next->second;
}

void check_on_device(const void* p, std::size_t bytes, const char* what) {
  if (!in_device(reinterpret_cast<std::uint64_t>(p), bytes))
    report(std::string("a copy ") + what + " what is no device memory");
}

// CUDA Runtime API, "API synchronization behavior": from pageable memory the data has been taken
// before the call returns, and to pageable memory it returns when the copy is done.
void copy_late(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
               cudaStream_t stream) {
  const bool captures = stream != nullptr && stream->captures;
  if (kind == cudaMemcpyHostToDevice && !captures && !is_pinned(from, bytes)) {
    const auto* const first = static_cast<const std::byte*>(from);
    submit(stream, [to, taken = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(to, taken.data(), taken.size());
    });
    return;
  }
  submit(stream, [=] { std::memmove(to, from, bytes); });
  if (kind == cudaMemcpyDeviceToHost && stream != nullptr && !captures && !is_pinned(to, bytes))
    drain(stream);
}

}  // namespace
}  // namespace dfengine::ptx

using namespace dfengine::ptx;

extern "C" {

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const auto lock = locked();
  *memory = allot_device(bytes);
  return remember(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* memory) {
  const auto lock = locked();
  if (memory == nullptr) return cudaSuccess;
  drain_all();
  if (!free_device(memory)) report("cudaFree of what was not allotted");
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const auto lock = locked();
  *memory = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (*memory == nullptr) return remember(cudaErrorMemoryAllocation);
  pinned()[static_cast<std::byte*>(*memory)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const auto lock = locked();
  drain_all();
  if (pinned().erase(static_cast<std::byte*>(memory)) == 0)
    report("cudaFreeHost of what was not allotted");
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  const auto lock = locked();
  check_on_device(memory, bytes, "to");
  note_copy(memory, bytes);
  std::memset(memory, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const auto lock = locked();
  if (bytes == 0) return cudaSuccess;
  if (kind != cudaMemcpyDeviceToHost) {
    check_on_device(to, bytes, "to");
    note_copy(to, bytes);
  }
  if (kind != cudaMemcpyHostToDevice) check_on_device(from, bytes, "from");
  if (settings().late_streams) {
    copy_late(to, from, bytes, kind, stream);
  } else {
    submit(stream, [=] { std::memmove(to, from, bytes); });
  }
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const auto lock = locked();
  return take_last_error();
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "PTX interpreter");
  properties->major = kMajor;
  properties->minor = 0;
  properties->sharedMemPerBlockOptin = settings().shared_limit;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin)
    *value = static_cast<int>(settings().shared_limit);
  else if (attribute == cudaDevAttrComputeCapabilityMajor)
    *value = kMajor;
  else if (attribute == cudaDevAttrComputeCapabilityMinor)
    *value = 0;
  else
    return remember(cudaErrorInvalidValue);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char*, int, int) {
  return remember(cudaErrorNotSupported);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = kMemory / 2;
  *total = kMemory;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "an error that the PTX interpreter gave";
}

const char* cudaGetErrorName(cudaError_t status) {
  return status == cudaSuccess ? "cudaSuccess" : "cudaError";
}

}  // extern "C"
