#include "tests/kernels/probes/cluster_probe.h"

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/launch.cuh"

namespace dfengine::test {
namespace {

using namespace dfengine::cuda;

__global__ void cluster_kernel(int cluster, const float* from, float* to) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(shared);
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  float* const mine = reinterpret_cast<float*>(shared) + 4 * thread;
  for (int i = 0; i < 4; ++i) mine[i] = from[(block * kClusterThreads + thread) * 4 + i];
  cluster_barrier();
  for (int rank = 0; rank < cluster; ++rank)
    reinterpret_cast<float4*>(to)[(block * cluster + rank) * kClusterThreads + thread] =
        load_from_block(mine, rank);
  cluster_barrier();
  mine[0] = -1.0f;  // which nobody reads any more
}

}  // namespace

void probe_cluster(Stream stream, int count, int cluster, const float* from, float* to) {
  launch_clusters(stream, "probe_cluster", static_cast<unsigned>(cluster), cluster_kernel,
                  blocks(count), kClusterThreads, 4 * kClusterThreads * sizeof(float), cluster,
                  from, to);
}

}  // namespace dfengine::test
