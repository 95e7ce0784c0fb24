// Clusters on a GPU and in its stand-in: each block finds what the others of its cluster left, and
// nothing of another cluster's.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/context.h"
#include "tests/kernels/probes/cluster_probe.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

TEST(ClusterDevice, BlocksReadWhatTheOthersLeft) {
  DF_NEEDS_DEVICE();
  if (!cuda::has_clusters()) GTEST_SKIP() << "not a device of compute capability 9.0 or later";
  constexpr int kClusters = 3, kOfBlock = 4 * kClusterThreads;
  for (int cluster : {1, 2, 3, 8}) {
    const int blocks = kClusters * cluster;
    std::vector<double> numbers(at(Index{blocks} * kOfBlock));
    std::iota(numbers.begin(), numbers.end(), 1.0);
    DeviceArray<float> from(numbers), to(Index{blocks} * cluster * kOfBlock);
    probe_cluster(nullptr, blocks, cluster, from.data(), to.data());
    const std::vector<double> found = to.values();
    for (int i = 0; i < blocks * cluster * kOfBlock; ++i) {
      const int block = i / kOfBlock / cluster, rank = i / kOfBlock % cluster;
      const int other = block / cluster * cluster + rank;
      ASSERT_EQ(found[at(i)], numbers[at(other * kOfBlock + i % kOfBlock)])
          << "block " << block << " of clusters of " << cluster << ", rank " << rank;
    }
  }
}

}  // namespace
}  // namespace dfengine::test
