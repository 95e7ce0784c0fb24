#include "kernels/base/checksum.h"

#include <gtest/gtest.h>

#include <vector>

namespace dfengine {
namespace {

TEST(Checksum, SeesEveryBit) {
  for (std::size_t n : {0u, 1u, 63u, 64u, 65u, 200u}) {
    std::vector<std::byte> bytes(n, std::byte{77});
    const std::uint64_t sum = checksum(bytes);
    for (std::size_t i = 0; i < 8 * n; ++i) {
      bytes[i / 8] ^= static_cast<std::byte>(1 << i % 8);
      EXPECT_NE(checksum(bytes), sum) << n << " bytes, bit " << i;
      bytes[i / 8] ^= static_cast<std::byte>(1 << i % 8);
    }
    bytes.push_back(std::byte{0});
    EXPECT_NE(checksum(bytes), sum);
  }
}

// Files hold it, so that it must never change.
TEST(Checksum, IsTheStoredOne) {
  EXPECT_EQ(checksum("dfengine"), 0x8803547D5806E6C2);
}

}  // namespace
}  // namespace dfengine
