// Sets of the real size: what a sample costs in memory, and how long a listing may take to think.
#include <gtest/gtest.h>
#include <malloc.h>

#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

std::size_t heap_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// 140,000 samples under 100 MB leave 714 bytes for one.
TEST(Scale, ASampleOfAListingIsSmall) {
  constexpr std::size_t kFiles = 5000, kMostBytes = 714;
  const test::TempDir dir;
  for (std::size_t i = 0; i < kFiles; ++i)
    dir.write((i % 2 == 0 ? "train/real/" : "train/fake/") + std::to_string(100000 + i) + ".jpg",
              "");
  const std::size_t before = heap_in_use();
  const Dataset data = test::split_of(dir.path(), "train");
  const std::size_t after = heap_in_use();
  ASSERT_EQ(data.samples.size(), kFiles);
  if (after <= before) GTEST_SKIP() << "this allocator does not tell its use";
  EXPECT_LT((after - before) / kFiles, kMostBytes);
}

}  // namespace
}  // namespace dfengine
