// The one way a kernel is started.
#pragma once

#include <cstddef>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/cuda/platform.cuh"
#include "kernels/cuda/stream.h"

#if defined(__CUDACC__)
#include "kernels/cuda/native/early_launches.cuh"
#include "kernels/cuda/native/shared_memory.cuh"
#endif

namespace dfengine::cuda {

// A grid of this many blocks along x. Throws ShapeError when the device has not that many.
inline dim3 blocks(Index count) {
  if (count < 1 || count > 0x7FFFFFFF)
    throw ShapeError("a CUDA grid of " + std::to_string(count) + " blocks: use a smaller batch");
  return {static_cast<unsigned>(count), 1, 1};
}

// Queues kernel(args...) on the stream, checks the launch under `name` and does not wait. shared is
// the bytes of dynamic shared memory. A kernel may have more than the 48 KiB that are granted to
// all. Where the device gains by it, a kernel begins while those before it end
// (await_previous_kernels). Each `cluster` blocks that follow each other along x, which divide the
// grid, are a cluster.
template <class... P, class... A>
void launch_clusters(Stream stream, const char* name, unsigned cluster, void (*kernel)(P...),
                     dim3 grid, unsigned threads, std::size_t shared, A&&... args) {
#if defined(__CUDACC__)
  constexpr std::size_t kGranted = 48 << 10;
  if (shared > kGranted) allow_shared_memory(name, reinterpret_cast<const void*>(kernel), shared);
  launch_with(stream, name, {launches_early(), cluster}, kernel, grid, threads, shared,
              std::forward<A>(args)...);
#else
  static_cast<void>(stream);
  static_cast<void>(name);
  emulated::submit([=] {
    emulated::run(
        grid, {threads, 1, 1}, shared, [&] { kernel(static_cast<P>(args)...); }, cluster);
  });
#endif
}

// The same for blocks that have nothing to do with each other.
template <class... P, class... A>
void launch(Stream stream, const char* name, void (*kernel)(P...), dim3 grid, unsigned threads,
            std::size_t shared, A&&... args) {
  launch_clusters(stream, name, 1, kernel, grid, threads, shared, std::forward<A>(args)...);
}

}  // namespace dfengine::cuda
