// Launches of kernels before those in front of them have ended: "Programmatic Dependent Launch and
// Synchronization" in the CUDA Programming Guide.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <utility>

#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/stream.h"

namespace dfengine::cuda {

struct LaunchForm {
  // It may come before the kernels in front of it have ended, for which it calls
  // await_previous_kernels().
  bool early = false;
  unsigned cluster = 1;  // blocks along x
};

// Queues the launch and checks it under `name`.
template <class... P, class... A>
void launch_with(Stream stream, const char* name, const LaunchForm& form, void (*kernel)(P...),
                 dim3 grid, unsigned threads, std::size_t shared, A&&... args) {
  std::array<cudaLaunchAttribute, 2> attributes{};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = attributes.data();
  if (form.early) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  if (form.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {form.cluster, 1, 1};
  }
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(std::forward<A>(args))...), name);
}

// Microseconds a kernel of a captured row of small ones; 0 where it was not measured.
struct LaunchTimes {
  double plain = 0, early = 0;
};

// Measured once in a process, on the device that is then current. Both are 0 where the device or
// the code that it runs cannot launch early (as has_clusters() says), or a row came out wrong.
const LaunchTimes& launch_times();

// Whether early launches are right and faster here. The bits of results do not depend on it.
bool launches_early();

}  // namespace dfengine::cuda
