// CUDA's runtime: kernels. nvcc's host code registers them by these names and starts them with two
// calls.
#include <algorithm>
#include <cstring>
#include <map>

#include "kernels/cuda/emulated/order.h"
#include "tests/ptx/program/modules.h"
#include "tests/ptx/report.h"
#include "tests/ptx/runtime/runtime.h"
#include "tests/ptx/schedule.h"

namespace dfengine::ptx {
namespace {

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr unsigned kMostThreads = 1024, kMostAlongY = 65535;
constexpr std::size_t kGrantedShared = 48 << 10;
constexpr unsigned kMostBlocksOfCluster = 8;

struct Registered {
  std::string name;
  std::size_t granted = kGrantedShared;
};

// By the address of the host's function of the kernel's name.
std::map<const void*, Registered>& registered() {
  static std::map<const void*, Registered> made;
  return made;
}

Registered& find_registered(const void* function) {
  const auto found = registered().find(function);
  if (found == registered().end()) stop("a launch of what is no kernel");
  return found->second;
}

struct Configuration {
  dim3 grid, block;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
  unsigned cluster = 1;  // blocks along x
};

std::vector<Configuration>& pushed() {
  thread_local std::vector<Configuration> made;
  return made;
}

Extent extent(const dim3& e) {
  return {e.x, e.y, e.z};
}

bool fits(const Configuration& c) {
  const std::uint64_t threads = extent(c.block).count();
  return extent(c.grid).count() > 0 && c.grid.y <= kMostAlongY && c.grid.z <= kMostAlongY &&
         threads > 0 && threads <= kMostThreads && c.cluster > 0 &&
         c.cluster <= kMostBlocksOfCluster && c.grid.x % c.cluster == 0;
}

void note(Kernel& kernel, const Configuration& c) {
  const auto threads = static_cast<unsigned>(extent(c.block).count());
  const auto most = static_cast<unsigned>(kernel.code->most_threads);
  if (most != 0 && threads > most)
    report(std::to_string(threads) + " threads, compiled for " + std::to_string(most) + ": " +
           readable(kernel.name));
  ++kernel.launches;
  kernel.most_threads = std::max(kernel.most_threads, threads);
  const std::size_t shared = c.shared + static_cast<std::size_t>(kernel.code->static_shared);
  kernel.least_shared = std::min(kernel.least_shared, shared);
  kernel.most_shared = std::max(kernel.most_shared, shared);
}

cudaError_t launch(const void* function, const Configuration& c, void** arguments) {
  const auto lock = locked();
  const Registered& known = find_registered(function);
  Kernel& kernel = find_kernel(known.name);
  if (!fits(c)) return remember(cudaErrorInvalidConfiguration);
  const std::size_t shared = c.shared + static_cast<std::size_t>(kernel.code->static_shared);
  if (c.shared > known.granted || shared > settings().shared_limit) {
    report("shared memory: " + std::to_string(shared) + " bytes where " +
           std::to_string(std::min(known.granted, settings().shared_limit)) +
           " may be had: " + readable(kernel.name));
    return remember(cudaErrorInvalidValue);
  }
  note(kernel, c);
  Launch all{extent(c.grid), extent(c.block), c.cluster, c.shared, {}};
  for (std::size_t n = 0; n < kernel.code->parameters.size(); ++n) {
    const auto* const first = static_cast<const std::byte*>(arguments[n]);
    all.arguments.emplace_back(first, first + kernel.code->parameters[n].bytes);
  }
  submit(c.stream, [&kernel, all = std::move(all)] { run_grid(kernel, all); });
  return cudaSuccess;
}

}  // namespace
}  // namespace dfengine::ptx

namespace dfengine::cuda::emulated {

// The tests are those of the stand-in, and ask for both orders of threads: here of warps.
void set_order(Order order) {
  if (ptx::settings().order == ptx::Order::Random) return;
  ptx::set_order(order == Order::Forward ? ptx::Order::Forward : ptx::Order::Backward);
}

}  // namespace dfengine::cuda::emulated

using namespace dfengine::ptx;

extern "C" {

// The linker puts this in place of dfengine::cuda::is_emulated (CMakeLists.txt).
bool __wrap__ZN8dfengine4cuda11is_emulatedEv() {
  return settings().is_stand_in;
}

void** __cudaRegisterFatBinary(void* wrapper) {
  static void* handle = nullptr;
  add_fat_binary(wrapper);
  return &handle;
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}

void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  registered()[function] = {name};
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared,
                                     cudaStream_t stream) {
  pushed().push_back({grid, block, shared, stream, 1});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  const Configuration c = pushed().back();
  pushed().pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  std::memcpy(stream, &c.stream, sizeof c.stream);
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  std::memcpy(kernel, &function, sizeof function);
  return cudaSuccess;
}

// When a launch may begin changes nothing here: kernels run one after the other, and each must say
// for itself that it waits (await_previous in instructions/warp_wide.cpp).
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* function,
                                void** arguments) {
  Configuration known{c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream, 1};
  for (unsigned n = 0; n < c->numAttrs; ++n)
    if (c->attrs[n].id == cudaLaunchAttributeClusterDimension)
      known.cluster = c->attrs[n].val.clusterDim.x;
  return launch(function, known, arguments);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared, cudaStream_t stream) {
  return launch(function, {grid, block, shared, stream, 1}, arguments);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared, cudaStream_t stream) {
  return launch(kernel, {grid, block, shared, stream, 1}, arguments);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->ptxVersion = attributes->binaryVersion = 90;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  const auto lock = locked();
  const auto bytes = static_cast<std::size_t>(value);
  if (bytes > settings().shared_limit) {
    report("shared memory: " + std::to_string(bytes) + " bytes where " +
           std::to_string(settings().shared_limit) +
           " may be had: " + readable(find_registered(function).name));
    return remember(cudaErrorInvalidValue);
  }
  find_registered(function).granted = std::max(kGrantedShared, bytes);
  return cudaSuccess;
}

}  // extern "C"
