// What the interpreter counts of this kernel stands in tests/ptx/faults.sh; here it does what it
// says.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/kernels/probes/traffic_probe.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

TEST(TrafficDevice, TheProbeCopies) {
  DF_NEEDS_DEVICE();
  constexpr std::size_t kLanes = 32;
  std::vector<double> numbers(2 * kLanes);
  std::iota(numbers.begin(), numbers.end(), 1.0);
  DeviceArray<float> from(numbers), to(Index{kLanes});
  probe_traffic(nullptr, from.data(), to.data());
  const std::vector<double> found = to.values();
  for (std::size_t i = 0; i < kLanes; ++i) EXPECT_EQ(found[i], numbers[2 * (i % 16)]) << i;
}

}  // namespace
}  // namespace dfengine::test
