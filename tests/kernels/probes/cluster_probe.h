// A kernel of clusters whose blocks read each other's shared memory (kernels/cuda/cluster.cuh).
#pragma once

#include "kernels/cuda/stream.h"

namespace dfengine::test {

constexpr int kClusterThreads = 64;

// Each thread leaves its four of `from` in shared memory, and then takes what the same thread of
// each block of its cluster has left. from [blocks, kClusterThreads, 4], to [blocks, cluster,
// kClusterThreads, 4].
void probe_cluster(cuda::Stream stream, int blocks, int cluster, const float* from, float* to);

}  // namespace dfengine::test
