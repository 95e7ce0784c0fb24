// The loader: order, contents, threads, cache, errors, ends.
#include "engine/data/loader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/data/pictures/resize.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;

constexpr Index kSamples = 23;

// Small pictures of different sizes, every third one fake.
class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    for (Index i = 0; i < kSamples; ++i) {
      const std::string name = fmt::format("p{}.bmp", i);
      dir_.write_bmp(name, test::pattern(8 + i, 20 - i / 2, 29 * i));
      data_.samples.push_back({name, i % 3 == 0 ? 1 : 0});
    }
    data_.root = dir_.path();
    options_.batch = 4;
    options_.size = 10;
    options_.crop = Crop::Center;
    options_.augment.hflip = true;
    options_.shuffle = true;
    options_.seed = 11;
  }

  std::vector<Batch> epoch(Loader& loader, std::uint64_t number, Index first = 0) const {
    loader.start(number, first);
    std::vector<Batch> all;
    for (Batch batch; loader.next(batch); batch = Batch{}) all.push_back(batch);
    return all;
  }

  // What one sample must look like, without the loader.
  std::vector<std::uint8_t> expected(std::uint32_t index, std::uint64_t number) const {
    Resizer resizer;
    const Index size = options_.size;
    std::vector<std::uint8_t> out(static_cast<std::size_t>(size * size * 3)), flipped;
    prepare_image(decode_image(data_.path(data_.samples[index])), options_.crop, size, resizer,
                  out.data());
    if (!options_.augment.hflip || !flip_sample(options_.seed, number, index)) return out;
    for (Index y = 0; y < size; ++y) {
      for (Index x = size - 1; x >= 0; --x) {
        const auto pixel = out.begin() + (y * size + x) * 3;
        flipped.insert(flipped.end(), pixel, pixel + 3);
      }
    }
    return flipped;
  }

  TempDir dir_;
  Dataset data_;
  LoaderOptions options_;
};

void expect_same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].n, b[i].n);
    EXPECT_EQ(a[i].images, b[i].images);
    EXPECT_EQ(a[i].targets, b[i].targets);
    EXPECT_EQ(a[i].indices, b[i].indices);
  }
}

TEST_F(LoaderTest, BatchesAreTheEpochInOrder) {
  Loader loader(data_, options_);
  EXPECT_EQ(loader.batches(), 6);
  for (std::uint64_t number : {0u, 1u}) {
    const auto order = epoch_order(kSamples, options_.seed, number, true);
    const auto all = epoch(loader, number);
    ASSERT_EQ(all.size(), 6u);
    std::size_t at = 0;
    for (const Batch& batch : all) {
      EXPECT_EQ(batch.n, std::min<Index>(4, kSamples - static_cast<Index>(at)));
      ASSERT_EQ(std::ssize(batch.indices), batch.n);
      ASSERT_EQ(std::ssize(batch.targets), batch.n);
      std::vector<std::uint8_t> images;
      for (std::size_t i = 0; i < batch.indices.size(); ++i, ++at) {
        EXPECT_EQ(batch.indices[i], order[at]);
        EXPECT_EQ(batch.targets[i], order[at] % 3 == 0 ? 1.0f : 0.0f);
        const auto one = expected(order[at], number);
        images.insert(images.end(), one.begin(), one.end());
      }
      EXPECT_EQ(batch.images, images);
    }
  }
}

TEST_F(LoaderTest, SameBitsWhateverThreadsAndCache) {
  options_.cache_bytes = 0;
  Loader plain(data_, options_);
  const auto first = epoch(plain, 0), second = epoch(plain, 1);
  for (int threads : {1, 2, 5}) {
    for (std::uint64_t cache : {0u, 1u << 20}) {
      options_.threads = threads;
      options_.cache_bytes = cache;
      Loader loader(data_, options_);
      expect_same(epoch(loader, 0), first);
      expect_same(epoch(loader, 1), second);
    }
  }
}

AugmentOptions everything() {
  return {.hflip = true,
          .scale = {0.2, 0.9},
          .color_jitter = {0.4, 0.4, 0.4, 0.1},
          .downscale_prob = 0.5,
          .blur_prob = 0.5,
          .jpeg_prob = 0.5,
          .erase_prob = 0.5};
}

// Whatever the threads and the cache, from the start of an epoch or resumed inside it.
TEST_F(LoaderTest, AugmentedBatchesAreTheSameBytes) {
  options_.augment = everything();
  options_.size = 24;
  options_.cache_bytes = 0;
  Loader plain(data_, options_);
  const auto first = epoch(plain, 0), second = epoch(plain, 1);
  EXPECT_NE(first[0].images, second[0].images);
  for (int threads : {1, 2, 8}) {
    for (std::uint64_t cache : {0u, 1u << 20}) {
      options_.threads = threads;
      options_.cache_bytes = cache;
      Loader loader(data_, options_);
      expect_same(epoch(loader, 0), first);
      expect_same(epoch(loader, 1), second);
      expect_same(epoch(loader, 1, 3), {second.begin() + 3, second.end()});
    }
  }
}

TEST_F(LoaderTest, EveryPictureIsAugmentedAsDrawn) {
  options_.augment = everything();
  Loader loader(data_, options_);
  Preparer preparer(options_);
  Augmenter augmenter;
  const auto bytes = static_cast<std::size_t>(options_.size * options_.size * 3);
  std::vector<std::uint8_t> expected(bytes);
  for (const Batch& batch : epoch(loader, 5)) {
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      const std::uint32_t index = batch.indices[i];
      preparer.prepare(data_.path(data_.samples[index]), expected.data());
      augmenter.apply(draw_augmentation(options_.augment, options_.size, options_.seed, 5, index),
                      expected.data(), options_.size);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                             batch.images.begin() + static_cast<std::ptrdiff_t>(i * bytes)));
    }
  }
}

TEST_F(LoaderTest, StartsAtAnyBatchEvenMidway) {
  options_.threads = 3;
  Loader loader(data_, options_);
  const auto whole = epoch(loader, 7);
  for (Index first = 0; first <= loader.batches(); ++first) {
    Batch dropped;
    loader.start(3);  // abandoned with batches on their way
    loader.next(dropped);
    expect_same(epoch(loader, 7, first), {whole.begin() + first, whole.end()});
  }
}

TEST_F(LoaderTest, CacheDecodesOnce) {
  Loader cached(data_, options_);
  options_.cache_bytes = static_cast<std::uint64_t>(kSamples * 10 * 10 * 3 - 1);  // one byte short
  Loader uncached(data_, options_);
  epoch(cached, 0);
  const auto second = epoch(uncached, 1);
  for (const Sample& s : data_.samples) std::filesystem::remove(data_.path(s));
  expect_same(epoch(cached, 1), second);
  Batch batch;
  uncached.start(1);
  EXPECT_THROW(uncached.next(batch), DataError);
}

TEST_F(LoaderTest, ErrorNamesTheFirstBadPictureInOrder) {
  const auto order = epoch_order(kSamples, options_.seed, 0, true);
  // Both in batch 2; a later place must not win, however the threads run.
  for (std::size_t place : {9u, 11u}) dir_.write(data_.samples[order[place]].relative, "broken");
  for (int threads : {1, 4}) {
    options_.threads = threads;
    Loader loader(data_, options_);
    Batch batch;
    loader.start(0);
    EXPECT_TRUE(loader.next(batch));
    EXPECT_TRUE(loader.next(batch));
    for (int again = 0; again < 2; ++again) {
      EXPECT_THROW(loader.next(batch), DataError);
      const std::string text = thrown_text([&] { loader.next(batch); });
      EXPECT_NE(text.find(data_.samples[order[9]].relative), std::string::npos) << text;
    }
    loader.start(0, 3);
    EXPECT_TRUE(loader.next(batch));
  }
}

TEST_F(LoaderTest, EndsCleanlyAtAnyTime) {
  options_.threads = 4;
  for (int taken = 0; taken < 8; ++taken) {
    Loader loader(data_, options_);
    Batch batch;
    if (taken > 0) loader.start(0);
    for (int i = 1; i < taken; ++i) loader.next(batch);
  }
}

TEST_F(LoaderTest, BuffersAreReused) {
  options_.batch = 1;
  Loader loader(data_, options_);
  std::set<const std::uint8_t*> buffers;
  Batch batch;
  for (std::uint64_t number : {0u, 1u}) {
    loader.start(number);
    while (loader.next(batch)) buffers.insert(batch.images.data());
  }
  EXPECT_LE(buffers.size(), 5u);  // four in the ring, one with the caller
}

TEST_F(LoaderTest, OddUses) {
  Batch batch;
  Loader loader(data_, options_);
  EXPECT_FALSE(loader.next(batch));  // before start()
  EXPECT_THROW(loader.start(0, -1), UsageError);
  EXPECT_THROW(loader.start(0, 7), UsageError);
  loader.start(0, 6);
  EXPECT_FALSE(loader.next(batch));
  EXPECT_FALSE(loader.next(batch));
  const Dataset nothing;
  Loader empty(nothing, options_);
  empty.start(0);
  EXPECT_FALSE(empty.next(batch));
  LoaderOptions no_batch = options_, no_size = options_;
  no_batch.batch = 0;
  no_size.size = 0;
  EXPECT_THROW(Loader(data_, no_batch), UsageError);
  EXPECT_THROW(Loader(data_, no_size), UsageError);
  options_.threads = 0;
  EXPECT_THROW(Loader(data_, options_), UsageError);
}

// Each epoch cuts other windows from the pictures, which no cache may fix.
TEST_F(LoaderTest, NewWindowsAreCutInEveryEpoch) {
  options_.crop = Crop::Random;
  options_.new_windows = true;
  options_.augment = {};
  Loader loader(data_, options_);
  std::set<std::vector<std::uint8_t>> seen;
  for (const std::uint64_t number : {0, 1, 0}) {
    for (const Batch& batch : epoch(loader, number)) {
      const auto bytes = batch.images.size() / static_cast<std::size_t>(batch.n);
      for (std::size_t i = 0; i < batch.indices.size(); ++i) {
        const std::uint32_t index = batch.indices[i];
        const Image image = decode_image(data_.path(data_.samples[index]));
        std::vector<std::uint8_t> want(bytes);
        cut_window(image, draw_window(image.h, image.w, 10, 11, number, index), want.data());
        const auto begin = batch.images.begin() + static_cast<std::ptrdiff_t>(i * bytes);
        ASSERT_EQ(std::vector<std::uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(bytes)),
                  want);
        if (index == 22) seen.insert(want);
      }
    }
  }
  EXPECT_EQ(seen.size(), 2u);
}

}  // namespace
}  // namespace dfengine
