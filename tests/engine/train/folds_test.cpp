// Folds of a whole set, groups held out, the size that pictures ask for.
#include "engine/train/folds.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/data/pictures/png_encode.h"
#include "engine/data/sets/groups.h"
#include "engine/train/picture_size.h"
#include "kernels/base/error.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

TEST(Folds, TestEveryPictureOnce) {
  const test::ScratchFolder scratch;
  DataOptions data;
  data.data = test::synth_set();  // 60 pictures
  constexpr int kFolds = 3;
  const auto tables = write_folds(data, kFolds, scratch.path(), 1);
  ASSERT_EQ(tables.size(), 3u);
  std::map<std::string, int> tested;
  for (const auto& table : tables) {
    DataOptions fold;
    fold.csv = table;
    const DataSource source = open_data(fold, {"train", "valid", "test"});
    EXPECT_EQ(source.splits[0].samples.size(), 30u);
    EXPECT_EQ(source.splits[1].samples.size(), 10u);
    EXPECT_EQ(source.splits[2].samples.size(), 20u);
    for (const Dataset& split : source.splits) EXPECT_EQ(split.count(0), split.count(1));
    for (const Sample& s : source.splits[2].samples) ++tested[s.relative];
  }
  EXPECT_EQ(tested.size(), 60u);
  for (const auto& [picture, times] : tested) EXPECT_EQ(times, 1) << picture;
  EXPECT_EQ(write_folds(data, kFolds, scratch.path(), 2), tables);  // again the same
  test::spill(tables[0], "path,label,split\n");
  EXPECT_THROW(write_folds(data, kFolds, scratch.path(), 1), UsageError);
  EXPECT_THROW(write_folds(data, 1, scratch.path() / "one", 1), UsageError);
}

Dataset grouped() {
  Dataset set{"root", "train", {}};
  set.samples = {{"real/a.png", 0}, {"real/b.png", 0}, {"fake/gan/c.png", 1}, {"fake/sd/d.png", 1}};
  return set;
}

TEST(HoldOut, TakesFoldersAndGroups) {
  DataSource source{"", {grouped(), grouped()}};
  const DataSource held = hold_out(source, {"gan"});
  ASSERT_EQ(held.splits.size(), 3u);
  EXPECT_EQ(held.splits[2].split, "held out");
  EXPECT_EQ(held.splits[2].samples.size(), 2u);
  for (const Sample& s : held.splits[2].samples) EXPECT_EQ(s.relative, "fake/gan/c.png");
  EXPECT_EQ(held.splits[0].samples.size(), 3u);
  EXPECT_EQ(group_of(held.splits[2].samples[0]), "fake/gan");
  for (Dataset& split : source.splits)
    for (Sample& s : split.samples) s.group = s.label == 1 ? "sd" : "camera";
  source.splits[0].samples[2].group = "gan";
  EXPECT_EQ(hold_out(source, {"gan"}).splits[2].samples.size(), 1u);
  EXPECT_THROW(hold_out(source, {"sd"}), UsageError);    // no fakes are left to validate on
  EXPECT_THROW(hold_out(source, {"tuna"}), UsageError);  // no such group
  EXPECT_EQ(hold_out(source, {}).splits.size(), 2u);
}

// Pictures of these sides, as PNG.
Dataset pictures_of(const test::ScratchFolder& scratch,
                    const std::vector<std::pair<Index, Index>>& sides) {
  Dataset set{scratch.path(), "train", {}};
  for (std::size_t i = 0; i < sides.size(); ++i) {
    const auto [h, w] = sides[i];
    const std::string name = std::to_string(i) + ".png";
    const Image image{h, w, std::vector<std::uint8_t>(at(h * w * 3))};
    const auto bytes = encode_png(image);
    test::spill(scratch.path() / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    set.samples.push_back({name, static_cast<int>(i % 2)});
  }
  return set;
}

TEST(NativeSide, IsThatOfSquaresNearTheUsual) {
  struct Case {
    std::vector<std::pair<Index, Index>> sides;
    std::optional<Index> want;
  };
  const std::vector<std::pair<Index, Index>> squares(20, {256, 256});
  std::vector<std::pair<Index, Index>> one_other = squares, many_others = squares;
  one_other[3] = {300, 200};
  for (std::size_t i = 0; i < 5; ++i) many_others[4 * i] = {512, 512};
  for (const Case& c : {Case{squares, 256},
                        {one_other, 256},
                        {many_others, std::nullopt},
                        {{{224, 224}, {224, 224}}, 224},
                        {{{250, 250}}, std::nullopt},
                        {{{96, 96}}, std::nullopt},
                        {{{1024, 1024}}, std::nullopt},
                        {{{256, 192}}, std::nullopt},
                        {{}, std::nullopt}}) {
    const test::ScratchFolder scratch;
    EXPECT_EQ(native_side(pictures_of(scratch, c.sides)), c.want) << c.sides.size();
  }
  TrainOptions o;
  EXPECT_TRUE(asks_for_native_side(o));
  EXPECT_FALSE(asks_for_native_side(recipe("seed")));
  o.img_size = 224;
  EXPECT_FALSE(asks_for_native_side(o));
}

}  // namespace
}  // namespace dfengine
