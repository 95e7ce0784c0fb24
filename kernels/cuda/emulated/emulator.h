// A CPU stand-in for the part of CUDA that our kernels use, for tests on machines without a GPU.
// Each CUDA thread is a fiber; the threads of a block run one at a time, and change at barriers.
// It finds wrong indices, missing or divergent barriers (run both orders) and reads of shared
// memory that was never written (it starts as NaN). It says nothing about speed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace dfengine::cuda::emulated {

struct Extent {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

constexpr int kWarp = 32;

struct Thread {
  Extent thread, block, block_size, grid;
  int lane = 0;
};

// The running thread.
const Thread& current();

// Runs work now, or at each run of the graph that is being captured.
void submit(std::function<void()> work);

// Runs body once per thread of the grid. shared bytes of dynamic shared memory. cluster: blocks
// along x that run together; they are whole warps, and have no shared memory but the dynamic.
// Throws Error when a barrier is not reached by all threads it waits for.
void run(Extent grid, Extent block, std::size_t shared, const std::function<void()>& body,
         unsigned cluster = 1);

void sync_threads();
void sync_warp();
void sync_cluster();
std::byte* dynamic_shared();
// Where the cluster's block `rank` has what lies at `mine` in this one's dynamic shared memory.
const void* shared_of_block(const void* mine, int rank);

// Gives the warp this lane's value, and this lane all 32. Size at most kMaxExchange.
constexpr std::size_t kMaxExchange = 64;
const std::byte* exchange_slots(const void* mine, std::size_t bytes);

template <class V>
void exchange(const V& mine, V (&all)[kWarp]) {
  static_assert(sizeof(V) <= kMaxExchange);
  const std::byte* slots = exchange_slots(&mine, sizeof(V));
  for (int i = 0; i < kWarp; ++i) std::memcpy(&all[i], slots + i * kMaxExchange, sizeof(V));
}

template <class V>
V shuffle(V mine, int from) {
  V all[kWarp];
  exchange(mine, all);
  return all[from];
}

// Copies that become visible when waited for, as cp.async does.
void copy_later(void* to, const void* from, std::size_t bytes);
void commit_copies();
// Until at most `left` groups are pending.
void wait_copies(int left);

}  // namespace dfengine::cuda::emulated

// CUDA's own words.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Blocks run one after another but for those of a cluster, so what a block shares may be static.
#define __shared__ static
#define __align__(n) alignas(n)

#define threadIdx (dfengine::cuda::emulated::current().thread)
#define blockIdx (dfengine::cuda::emulated::current().block)
#define blockDim (dfengine::cuda::emulated::current().block_size)
#define gridDim (dfengine::cuda::emulated::current().grid)

// NOLINTBEGIN: names of CUDA
using dim3 = dfengine::cuda::emulated::Extent;

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline void __syncthreads() {
  dfengine::cuda::emulated::sync_threads();
}
inline void __syncwarp() {
  dfengine::cuda::emulated::sync_warp();
}
template <class V>
V __shfl_xor_sync(unsigned, V value, int mask) {
  return dfengine::cuda::emulated::shuffle(value, dfengine::cuda::emulated::current().lane ^ mask);
}
template <class V>
V __shfl_sync(unsigned, V value, int lane) {
  return dfengine::cuda::emulated::shuffle(value, lane);
}
template <class V>
V __shfl_down_sync(unsigned, V value, int delta) {
  const int lane = dfengine::cuda::emulated::current().lane;
  return dfengine::cuda::emulated::shuffle(value, lane + delta < 32 ? lane + delta : lane);
}
// NOLINTEND
