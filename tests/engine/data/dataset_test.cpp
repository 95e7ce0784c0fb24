// Folders to samples, and the order and mirroring of an epoch.
#include "engine/data/sets/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::split_of;
using test::TempDir;
using test::thrown_text;

TEST(FolderSplit, FindsAndSortsPictures) {
  const TempDir dir;
  for (const char* file :
       {"train/real/b.JPG", "train/real/a.png", "train/real/deep/er/c.jpeg", "train/fake/z.Bmp",
        "train/fake/a.PNG", "train/fake/notes.txt", "train/other/x.png", "test/real/t.png"}) {
    dir.write(file, "x");
  }
  const Dataset data = split_of(dir.path(), "train");
  std::vector<std::string> names;
  for (const Sample& s : data.samples) {
    names.push_back(s.relative);
    EXPECT_EQ(data.path(s), dir.path() / s.relative);
    EXPECT_EQ(s.label, s.relative.starts_with("train/fake") ? 1 : 0);
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"train/fake/a.PNG", "train/fake/z.Bmp", "train/real/a.png",
                                      "train/real/b.JPG", "train/real/deep/er/c.jpeg"}));
  EXPECT_EQ(data.root, dir.path());
  EXPECT_EQ(data.split, "train");
  EXPECT_EQ(data.count(0), 3);
  EXPECT_EQ(data.count(1), 2);
  // A trailing slash changes nothing.
  EXPECT_EQ(split_of(dir.path() / "", "train").samples[0].relative, "train/fake/a.PNG");
}

TEST(FolderSplit, ValidAndValAreOne) {
  const TempDir val, valid;
  for (const char* name : {"real/a.png", "fake/a.png"}) {
    val.write(std::string("val/") + name, "x");
    valid.write(std::string("valid/") + name, "x");
  }
  for (const char* split : {"val", "valid"}) {
    EXPECT_EQ(split_of(val.path(), split).samples.size(), 2u);
    EXPECT_EQ(split_of(valid.path(), split).samples.size(), 2u);
  }
}

TEST(FolderSplit, NamesWhatIsMissingAndWhatIsThere) {
  const TempDir dir;
  dir.write("train/real/a.png", "x");
  dir.write("train/fake/readme.txt", "x");
  dir.write("test/people/a.png", "x");
  const auto expect = [&](const std::filesystem::path& root, const char* split,
                          std::initializer_list<const char*> parts) {
    EXPECT_THROW(split_of(root, split), DataError);
    const std::string text = thrown_text([&] { split_of(root, split); });
    for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(dir.path() / "absent", "train", {"absent", "does not exist"});
  expect(dir.path() / "train/real/a.png", "train", {"a.png", "is not a folder"});
  expect(dir.path(), "valid", {"valid/ or val/", "found: test/, train/"});
  expect(dir.path(), "test", {"no folder real/", "found: people/"});
  expect(dir.path(), "train", {"fake holds no picture", "found: readme.txt"});
}

TEST(EpochOrder, IsAPermutationOfSeedAndEpoch) {
  std::vector<std::uint32_t> identity(100);
  std::iota(identity.begin(), identity.end(), 0u);
  EXPECT_EQ(epoch_order(100, 1, 2, false), identity);
  const auto order = epoch_order(100, 1, 2, true);
  EXPECT_EQ(order, epoch_order(100, 1, 2, true));
  EXPECT_NE(order, epoch_order(100, 1, 3, true));
  EXPECT_NE(order, epoch_order(100, 2, 2, true));
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, identity);
  EXPECT_TRUE(epoch_order(0, 1, 2, true).empty());
  EXPECT_EQ(epoch_order(1, 1, 2, true), std::vector<std::uint32_t>{0});
  EXPECT_THROW(epoch_order(-1, 1, 2, true), UsageError);
  EXPECT_THROW(epoch_order(Index{1} << 32, 1, 2, true), UsageError);
}

TEST(EpochOrder, EveryPermutationIsEquallyLikely) {
  constexpr int kEpochs = 6000;
  std::map<std::vector<std::uint32_t>, int> counts;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    ++counts[epoch_order(3, 9, static_cast<std::uint64_t>(epoch), true)];
  }
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(count, kEpochs / 6, test::count_tolerance(kEpochs, 1.0 / 6));
  }
}

TEST(FlipSample, IsAFairCoinPerSampleAndEpoch) {
  constexpr std::uint32_t kSamples = 4000;
  int flips = 0, same_next_epoch = 0, same_other_seed = 0;
  for (std::uint32_t i = 0; i < kSamples; ++i) {
    const bool flip = flip_sample(3, 5, i);
    EXPECT_EQ(flip, flip_sample(3, 5, i));
    flips += flip;
    same_next_epoch += flip == flip_sample(3, 6, i);
    same_other_seed += flip == flip_sample(4, 5, i);
  }
  for (int count : {flips, same_next_epoch, same_other_seed}) {
    EXPECT_NEAR(count, kSamples / 2, test::count_tolerance(kSamples, 0.5));
  }
}

TEST(FolderSplit, RealFaces) {
  const auto faces = test::data_folder() / "faces140k";
  if (!std::filesystem::is_directory(faces)) GTEST_SKIP() << "no faces140k in DFENGINE_DATA";
  const Dataset data = split_of(faces, "test");
  EXPECT_GT(data.count(0), 0);
  EXPECT_EQ(data.count(0), data.count(1));
  const Image face = decode_image(data.path(data.samples.front()));
  EXPECT_EQ(face.h, 256);
  EXPECT_EQ(face.w, 256);
}

}  // namespace
}  // namespace dfengine
