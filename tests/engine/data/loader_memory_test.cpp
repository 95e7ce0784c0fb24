// Allocations that fail inside the loader: the caller is told, no good picture is left out, and the
// next epoch is as if nothing had been.
#include <gtest/gtest.h>

#include "engine/data/loader.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/interface/failing_new.h"

namespace dfengine {
namespace {

using test::with_failure;

class LoaderMemory : public testing::Test {
 protected:
  struct Seen {
    std::vector<std::uint32_t> indices, left_out;
    std::vector<std::uint8_t> images;
    bool operator==(const Seen&) const = default;
  };

  LoaderMemory() {
    data_.root = dir_.path();
    for (int i = 0; i < 9; ++i) {
      const std::string name = std::to_string(i) + ".bmp";
      dir_.write_bmp(name, test::pattern(8 + i, 30 - i, Index{17} * i));
      data_.samples.push_back({name, i % 2});
    }
    dir_.write(data_.samples[4].relative, "broken, with a reason longer than a string has inside");
    options_.batch = 2;
    options_.size = 8;
    options_.shuffle = true;
    options_.on_bad = OnBad::Skip;
  }

  static Seen epoch(Loader& loader) {
    loader.start(3);
    Seen seen;
    for (Batch batch; loader.next(batch); batch = {}) {
      seen.indices.insert(seen.indices.end(), batch.indices.begin(), batch.indices.end());
      seen.images.insert(seen.images.end(), batch.images.begin(), batch.images.end());
      for (const LeftOut& one : batch.left_out) seen.left_out.push_back(one.index);
    }
    return seen;
  }

  test::TempDir dir_;
  Dataset data_;
  LoaderOptions options_;
};

TEST_F(LoaderMemory, AFailedAllocationIsTold) {
  for (const int threads : {1, 3}) {
    options_.threads = threads;
    Loader loader(data_, options_);
    const Seen expected = epoch(loader);
    ASSERT_EQ(expected.left_out, std::vector<std::uint32_t>{4});
    for (long n = 0;; ++n) {
      Seen seen;
      bool told = false;
      const bool failed = with_failure(n, [&] {
        try {
          seen = epoch(loader);
        } catch (const std::bad_alloc&) {
          told = true;
        } catch (const OutOfMemory&) {
          told = true;
        }
      });
      ASSERT_TRUE(told || seen == expected) << n;
      ASSERT_TRUE(epoch(loader) == expected) << "after allocation " << n << " failed";
      if (!failed) break;
    }
  }
}

TEST_F(LoaderMemory, EveryLaterCallIsToldToo) {
  Loader loader(data_, options_);
  epoch(loader);
  int failures = 0;
  for (long n = 0; n < 200; ++n) {
    loader.start(3);
    Batch batch;
    bool told = false;
    const auto all = [&] {
      try {
        while (loader.next(batch)) batch = {};
      } catch (const std::exception&) {
        told = true;
      }
    };
    with_failure(n, all);
    if (!told) continue;
    ++failures;
    told = false;
    all();
    EXPECT_TRUE(told) << n;
  }
  EXPECT_GT(failures, 0);
}

TEST_F(LoaderMemory, OpeningIsToldToo) {
  options_.threads = 3;
  for (long n = 0;; ++n) {
    bool told = false;
    const bool failed = with_failure(n, [&] {
      try {
        Loader loader(data_, options_);
      } catch (const std::bad_alloc&) {
        told = true;
      }
    });
    ASSERT_EQ(told, failed) << n;
    if (!failed) break;
  }
}

}  // namespace
}  // namespace dfengine
