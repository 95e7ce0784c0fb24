// Blocks of a cluster run together and read each other's shared memory: "Thread Block Clusters" in
// the CUDA Programming Guide. Kernels call these only where cuda::has_clusters().
#pragma once

#include "kernels/cuda/mma.cuh"

namespace dfengine::cuda {

// The most blocks of a cluster on every device that has clusters.
constexpr int kMostBlocksOfCluster = 8;

// Waits for all threads of the cluster's blocks: what they have written to shared memory can be
// read.
__device__ __forceinline__ void cluster_barrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n\t"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#elif !defined(__CUDACC__)
  emulated::sync_cluster();
#endif
}

// Before a block ends whose shared memory others read: waits until they have what they asked for.
// It orders nothing in memory, so stores under way are not waited for.
__device__ __forceinline__ void await_readers() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.relaxed.aligned;\n\t"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#elif !defined(__CUDACC__)
  emulated::sync_cluster();
#endif
}

// Reads what the cluster's block `rank` has where this one has `mine`, in shared memory.
__device__ __forceinline__ float4 load_from_block(const float* mine, int rank) {
  float4 v = {};
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  unsigned address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(mine)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address)
               : "memory");
#elif !defined(__CUDACC__)
  v = *static_cast<const float4*>(emulated::shared_of_block(mine, rank));
#endif
  return v;
}

}  // namespace dfengine::cuda
