// Caches and packed sets give the runs that files give; benchmark and contact sheet of the feed.
#include "engine/train/picture_cache.h"

#include <gtest/gtest.h>

#include "engine/data/feed_bench.h"
#include "engine/data/pictures/contact_sheet.h"
#include "engine/data/sets/source.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

using test::ScratchFolder;
using test::tiny_options;
using test::train_to_end;

constexpr auto kAlways = [](Index, Index) { return true; };

TEST(PictureCache, EveryKindGivesTheSameModel) {
  const ScratchFolder scratch;
  const TrainOptions automatic = tiny_options(scratch.path() / "auto");
  TrainOptions ram = tiny_options(scratch.path() / "ram"), disk = ram, packed = ram;
  ram.cache = CacheMode::Ram;
  disk.output = scratch.path() / "disk";
  disk.cache = CacheMode::Disk;
  for (const auto& o : {automatic, ram, disk}) train_to_end(o);
  test::expect_same_run(automatic.output, ram.output);
  test::expect_same_run(automatic.output, disk.output);
  EXPECT_TRUE(std::filesystem::exists(disk.output / "cache.dfpack"));

  packed.output = scratch.path() / "packed";
  packed.data = scratch.path() / "set.dfpack";
  ThreadPool pool(1);
  Preparation how;
  how.size = packed.img_size;
  write_pack(packed.data, open_data(ram, {}).splits, how, pool, kAlways);
  train_to_end(packed);
  EXPECT_EQ(test::results_without_seconds(packed.output),
            test::results_without_seconds(ram.output));
  packed.img_size = 128;
  packed.output = scratch.path() / "other";
  EXPECT_THROW(train_to_end(packed), DataError);
}

TEST(PictureCache, IsMadeAnewWhenItsSourceChanged) {
  const ScratchFolder scratch;
  const test::TempDir pictures;
  std::vector<Dataset> splits(1);
  splits[0].root = pictures.path();
  splits[0].samples = {{"a.bmp", 0}, {"b.bmp", 1}};
  for (const char* name : {"a.bmp", "b.bmp"}) pictures.write_bmp(name, test::pattern(9, 9));
  Preparation how;
  how.size = 9;
  ThreadPool pool(1);
  const auto made = [&] {
    std::vector<Dataset> cached = splits;
    Index done = 0;
    EXPECT_TRUE(cache_on_disk(scratch.path(), cached, how, pool, [&](Index n, Index) {
      done = n;
      return true;
    }));
    std::vector<std::uint8_t> out(9 * 9 * 3);
    cached[0].pack->read(cached[0].samples[1].record, out.data());
    EXPECT_EQ(out, decode_image(splits[0].path(splits[0].samples[1])).rgb);
    return done;
  };
  EXPECT_EQ(made(), 2);
  EXPECT_EQ(made(), 0);  // used as it is
  pictures.write_bmp("b.bmp", test::pattern(9, 9, 5));
  std::filesystem::last_write_time(
      pictures.path() / "b.bmp",
      std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  EXPECT_EQ(made(), 2);
  pictures.write("../" + scratch.path().filename().string() + "/cache.dfpack", "damaged");
  EXPECT_EQ(made(), 2);
  how.resize = ResizeRule::Nearest;
  EXPECT_EQ(made(), 2);
}

TEST(PictureCache, SaysWhereAndHowLarge) {
  std::vector<Dataset> splits(1);
  splits[0].samples.assign(7000, {"x", 0});
  TrainOptions o;
  o.output = "RUN";
  const Preparation how;  // 7000 * 224 * 224 * 3 bytes are 1004.9 MiB
  o.cache = CacheMode::Ram;
  EXPECT_EQ(describe_cache(o, splits, how), "cache: memory (1005 MiB)");
  o.cache = CacheMode::Disk;
  EXPECT_EQ(describe_cache(o, splits, how), "cache: RUN/cache.dfpack (1005 MiB)");
}

TEST(FeedBench, MeasuresWhatApplies) {
  const DataSource source = open_data(tiny_options("unused"), {"valid"});
  LoaderOptions how;
  how.size = 64;
  const FeedRates plain = measure_feed(source.splits[0], how, 4, 1);
  EXPECT_EQ(plain.pictures, 4);
  for (double rate : {plain.decode, plain.resize, plain.decode_resize, plain.all_threads,
                      plain.feed, plain.feed_cached}) {
    EXPECT_GT(rate, 0);
  }
  EXPECT_EQ(plain.augment, 0);
  EXPECT_EQ(plain.read, 0);
  const ScratchFolder scratch;
  ThreadPool pool(1);
  write_pack(scratch.path() / "v.dfpack", source.splits, how, pool, kAlways);
  how.augment.jpeg_prob = 1;
  const FeedRates packed =
      measure_feed(open_pack(scratch.path() / "v.dfpack", {"valid"})[0], how, 100, 1);
  EXPECT_EQ(packed.pictures, std::ssize(source.splits[0].samples));
  EXPECT_GT(packed.read, 0);
  EXPECT_GT(packed.augment, 0);
  EXPECT_EQ(packed.decode, 0);
  EXPECT_THROW(measure_feed(source.splits[0], how, 0, 1), UsageError);
}

TEST(ContactSheet, ShowsThePictureAndItsVariants) {
  const test::TempDir dir;
  Dataset set;
  set.root = dir.path();
  for (const char* name : {"a.bmp", "b.bmp"}) {
    dir.write_bmp(name, test::pattern(12, 12, std::ssize(set.samples)));
    set.samples.push_back({name});
  }
  LoaderOptions how;
  how.size = 12;
  how.seed = 4;
  how.augment.hflip = true;
  const Image sheet = contact_sheet(set, how, 5);
  EXPECT_EQ(sheet.h, 2 * 16 + 4);
  EXPECT_EQ(sheet.w, 6 * 16 + 4);
  for (Index row = 0; row < 2; ++row) {
    for (Index column = 0; column < 6; ++column) {
      Image expected = test::pattern(12, 12, row);
      if (column > 0 &&
          flip_sample(4, static_cast<std::uint64_t>(column - 1), static_cast<std::uint32_t>(row))) {
        mirror(expected.rgb.data(), 12);
      }
      for (Index y = 0; y < 12; ++y) {
        const auto at = sheet.rgb.begin() + 3 * ((row * 16 + 4 + y) * sheet.w + column * 16 + 4);
        EXPECT_TRUE(std::equal(at, at + 36, expected.rgb.begin() + y * 36)) << row << column;
      }
    }
  }
  EXPECT_THROW(contact_sheet(Dataset{}, how, 1), UsageError);
  EXPECT_THROW(contact_sheet(set, how, 1 << 30), UsageError);
}

}  // namespace
}  // namespace dfengine
