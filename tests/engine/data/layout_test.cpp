// Layouts of folders as published sets have them, what is passed over in them, and splits that are
// made from a part of one.
#include <gtest/gtest.h>

#include "engine/data/sets/source.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;
using Names = std::vector<std::string>;

class Layout : public testing::Test {
 protected:
  // Folders, each with one picture or several.
  void folders(const Names& names, int pictures = 1) {
    for (const std::string& name : names)
      for (int i = 0; i < pictures; ++i) {
        const std::string file = name + "/" + std::to_string(i) + ".jpg";
        dir_.write(file, file);
      }
  }
  DataOptions options() const {
    DataOptions o;
    o.data = dir_.path();
    return o;
  }
  // "path label" of every sample of one split.
  Names read(const std::string& split) const { return listing(open_data(options(), {split})); }
  static Names listing(const DataSource& source) {
    Names all;
    for (const Sample& s : source.splits.at(0).samples)
      all.push_back(s.relative + " " + std::to_string(s.label));
    return all;
  }
  std::string refusal(const DataOptions& o, const Names& wanted) const {
    return thrown_text([&] { open_data(o, wanted); });
  }
  // Split and counts of all.
  static Names counts(const DataSource& source) {
    Names all;
    for (const Dataset& d : source.splits)
      all.push_back(fmt::format("{} {}+{}", d.split, d.count(0), d.count(1)));
    return all;
  }

  TempDir dir_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(Layout, CapitalsAndOtherSpellings) {
  folders({"Dataset/Train/Real", "Dataset/Train/Fake", "Dataset/Validation/REAL",
           "Dataset/Validation/Fake_Images", "Dataset/testing/0_real", "Dataset/testing/AI"});
  EXPECT_EQ(counts(open_data(options(), {})), (Names{"train 1+1", "valid 1+1", "test 1+1"}));
  EXPECT_EQ(read("val"), (Names{"Validation/Fake_Images/0.jpg 1", "Validation/REAL/0.jpg 0"}));
}

// CNNDetection: train has classes of objects between split and class, its test set has generators,
// of which some have classes of objects again.
TEST_F(Layout, CategoriesBetweenSplitAndClass) {
  folders({"train/airplane/0_real", "train/airplane/1_fake", "train/cat/0_real", "train/cat/1_fake",
           "test/biggan/0_real", "test/biggan/1_fake", "test/cyclegan/apple/0_real",
           "test/cyclegan/apple/1_fake"});
  const DataSource train = open_data(options(), {"train"});
  EXPECT_TRUE(contains(train.layout, "SPLIT/CATEGORY/CLASS")) << train.layout;
  EXPECT_EQ(listing(train), (Names{"train/airplane/0_real/0.jpg 0", "train/airplane/1_fake/0.jpg 1",
                                   "train/cat/0_real/0.jpg 0", "train/cat/1_fake/0.jpg 1"}));
  EXPECT_EQ(read("test"),
            (Names{"test/biggan/0_real/0.jpg 0", "test/biggan/1_fake/0.jpg 1",
                   "test/cyclegan/apple/0_real/0.jpg 0", "test/cyclegan/apple/1_fake/0.jpg 1"}));
  // The test set alone is one set, whatever the depth of its categories.
  DataOptions part = options();
  part.data /= "test";
  const DataSource all = open_to_measure(part);
  EXPECT_EQ(counts(all), Names{"all 2+2"});
  EXPECT_TRUE(contains(all.layout, "CATEGORY/CLASS")) << all.layout;
}

// Another generator of CNNDetection is called deepfake.
TEST_F(Layout, ACategoryMayBearAClassName) {
  folders({"train/progan/cat/0_real", "train/progan/cat/1_fake", "test/biggan/0_real",
           "test/biggan/1_fake", "test/deepfake/0_real", "test/deepfake/1_fake"});
  EXPECT_EQ(read("test"), (Names{"test/biggan/0_real/0.jpg 0", "test/biggan/1_fake/0.jpg 1",
                                 "test/deepfake/0_real/0.jpg 0", "test/deepfake/1_fake/0.jpg 1"}));
  DataOptions part = options();
  part.data /= "test";
  EXPECT_EQ(counts(open_to_measure(part)), Names{"all 2+2"});
}

TEST_F(Layout, ASetMayBearAClassName) {
  folders({"Human Faces/train/real", "Human Faces/train/ai", "Human Faces/test/real",
           "Human Faces/test/ai"});
  EXPECT_EQ(counts(open_data(options(), {})), (Names{"train 1+1", "test 1+1"}));
}

// FaceForensics++ has its classes outermost, and sources and compressions below them.
TEST_F(Layout, ClassesOutermostWithFoldersBelow) {
  folders({"original_sequences/youtube/c23/images", "original_sequences/actors/c23/images",
           "manipulated_sequences/Deepfakes/c23/images",
           "manipulated_sequences/FaceSwap/c23/images"});
  EXPECT_EQ(counts(open_to_measure(options())), Names{"all 2+2"});
}

TEST_F(Layout, SplitAndClassInOneName) {
  folders({"training_real", "training_fake", "test_real", "test_fake"});
  EXPECT_EQ(counts(open_data(options(), {})), (Names{"train 1+1", "test 1+1"}));
  EXPECT_EQ(read("train"), (Names{"training_fake/0.jpg 1", "training_real/0.jpg 0"}));
}

// Kaggle's "real and fake face detection" has nothing but these two.
TEST_F(Layout, OneSplitInTheNamesOfTheClassesIsNoSplit) {
  folders({"real_and_fake_face/training_real", "real_and_fake_face/training_fake"}, 10);
  EXPECT_EQ(counts(open_to_measure(options())), Names{"all 10+10"});
  EXPECT_EQ(counts(open_data(options(), {"training"})), Names{"training 10+10"});
  DataOptions divided = options();
  divided.fractions = {.8, .1, .1};
  EXPECT_EQ(counts(open_data(divided, {})), (Names{"train 8+8", "valid 1+1", "test 1+1"}));
}

TEST_F(Layout, SplitsInsideOfClassesWhereBothClassesHaveThem) {
  folders({"real/train", "real/test", "fake/train", "fake/test"});
  EXPECT_EQ(read("test"), (Names{"fake/test/0.jpg 1", "real/test/0.jpg 0"}));
  EXPECT_TRUE(contains(open_data(options(), {"train"}).layout, "/CLASS/SPLIT"));
}

TEST_F(Layout, ANameInsideOfOneClassIsNoSplit) {
  folders({"real/train2017", "fake/sdxl", "fake/glide"});
  EXPECT_EQ(read("all"),
            (Names{"fake/glide/0.jpg 1", "fake/sdxl/0.jpg 1", "real/train2017/0.jpg 0"}));
}

TEST_F(Layout, FoldersBesideTheClassesAreNotTheSets) {
  folders({"train/real", "train/fake", "train/old/real", "train/old/fake", "valid/real",
           "valid/fake", "old/train/real", "notes"});
  dir_.write("train/loose.jpg", "x");
  const DataSource source = open_data(options(), {"train"});
  EXPECT_EQ(counts(source), Names{"train 1+1"});
  EXPECT_EQ(source.passed_over,
            (PassedOver{{"other folders", 3}, {"pictures in no folder of a class", 1}}));
}

TEST_F(Layout, NamesThatContradictOrStandTwiceAreRefused) {
  folders({"train/real", "train/fake", "train/real/fake", "val/real", "val/fake", "validation/real",
           "test/real", "test/fake", "test/Fake"});
  EXPECT_TRUE(contains(refusal(options(), {"train"}), "train/real/fake lies in a folder"));
  const std::string twice = refusal(options(), {"valid"});
  EXPECT_TRUE(contains(twice, "more than one folder of split valid: val/ and validation/"))
      << twice;
  const std::string classes = refusal(options(), {"test"});
  EXPECT_TRUE(contains(classes, "more than one folder of class fake: Fake/ and fake/")) << classes;
  EXPECT_TRUE(contains(classes, "--classes"));
}

TEST_F(Layout, LeftoversArePassedOverAndCountedByKind) {
  folders({"train/real", "train/fake"}, 2);
  for (const char* file :
       {"train/real/._0.jpg", "train/real/._1.jpg", "train/.DS_Store", "train/real/.DS_Store",
        "train/fake/Thumbs.db", "train/fake/0.jpg~", "train/fake/.hidden.png",
        "train/fake/.ipynb_checkpoints/0-checkpoint.jpg", "__MACOSX/train/real/._0.jpg",
        "train/fake/notes.txt", "train/fake/LIST", "train/real/2.jpg.crdownload"})
    dir_.write(file, "x");
  const DataSource source = open_data(options(), {"train"});
  EXPECT_EQ(counts(source), Names{"train 2+2"});
  EXPECT_EQ(source.passed_over, (PassedOver{{".crdownload", 1},
                                            {"._*", 2},
                                            {".DS_Store", 2},
                                            {".ipynb_checkpoints/", 1},
                                            {".txt", 1},
                                            {"Thumbs.db", 1},
                                            {"__MACOSX/", 1},
                                            {"backup", 1},
                                            {"hidden", 1},
                                            {"without an ending", 1}}));
  EXPECT_TRUE(contains(source.describe(), "\n  passed over: 2 .DS_Store, 2 ._*, "))
      << source.describe();
}

// Usual endings are taken at their word, whose pictures reading will tell; others by the first
// bytes.
TEST_F(Layout, EndingsDoNotDecideWhatIsAPicture) {
  folders({"train/fake"});
  const std::string png = test::slurp(test::golden_folder() / "images/rgb.png");
  const std::string webp = test::slurp(test::golden_folder() / "images/lossy.webp");
  for (const char* name : {"a.jfif", "b.JPE", "c.Jpg", "d.webp", "e.png"})
    dir_.write(std::string("train/real/") + name, "x");
  dir_.write("train/real/f", png);
  dir_.write("train/real/g.tmp", webp);
  dir_.write("train/real/h.dat", "GIF89a");
  dir_.write("train/real/i.tif", std::string("II*\0", 4));
  dir_.write("train/real/j.heic", std::string("\0\0\0\x18"
                                              "ftypheic",
                                              12));
  dir_.write("train/real/k.mp4", std::string("\0\0\0\x18"
                                             "ftypisom",
                                             12));
  dir_.write("train/real/l.txt", "GIF pictures");
  const DataSource source = open_data(options(), {"train"});
  EXPECT_EQ(counts(source), Names{"train 10+1"});
  EXPECT_EQ(source.passed_over, (PassedOver{{".mp4", 1}, {".txt", 1}}));
}

TEST_F(Layout, WhatASetWithTrainLacksIsTakenFromIt) {
  folders({"train/REAL", "train/FAKE", "test/REAL", "test/FAKE"}, 10);
  const std::string lacks = refusal(options(), {"train", "valid"});
  EXPECT_TRUE(contains(lacks, "no folder valid/") && contains(lacks, "train --split .9,.1"))
      << lacks;
  DataOptions o = options();
  o.fractions = {.9, .1};
  const DataSource source = open_data(o, {});
  EXPECT_EQ(counts(source), (Names{"train 9+9", "valid 1+1", "test 10+10"}));
  EXPECT_TRUE(contains(source.layout, ", train divided 0.9:0.1")) << source.layout;
  EXPECT_EQ(counts(open_to_measure(o)), Names{"test 10+10"});
  o.fractions = {.8, .1, .1};
  EXPECT_THROW(open_data(o, {}), UsageError);
  EXPECT_TRUE(contains(refusal(o, {}), "is divided already (train, test)"));
  o.data /= "test";  // no splits: all of it is divided
  EXPECT_EQ(counts(open_data(o, {})), (Names{"train 8+8", "valid 1+1", "test 1+1"}));
}

TEST_F(Layout, TablesOfTrainAndTestAreDividedInTheSameWay) {
  std::string text = "path,label,split\n";
  for (int i = 0; i < 40; ++i) {
    const std::string file = fmt::format("{}/{}.jpg", i % 2 == 0 ? "real" : "fake", i);
    dir_.write("pictures/" + file, file);
    text += fmt::format("{},{},{}\n", file, i % 2, i < 20 ? "Train" : "testing");
  }
  DataOptions one;
  one.csv = dir_.write("list.csv", text);
  EXPECT_TRUE(contains(refusal(one, {"valid"}), "--split .9,.1"));
  one.fractions = {.9, .1};
  const Names expected = {"train 9+9", "valid 1+1", "test 10+10"};
  EXPECT_EQ(counts(open_data(one, {})), expected);
  DataOptions both;
  const std::size_t half = text.find("real/20");
  both.csv = dir_.write("a.csv", text.substr(0, half));
  both.test_csv = dir_.write("b.csv", "path,label,split\n" + text.substr(half));
  EXPECT_TRUE(contains(refusal(both, {"train", "valid"}), "--split .9,.1"));
  both.fractions = {.9, .1};
  EXPECT_EQ(counts(open_data(both, {})), expected);
}

TEST_F(Layout, WithoutAWordTestIsMeasuredOrAllOfASetWithoutSplits) {
  folders({"flat/real", "flat/fake", "divided/test/real", "divided/test/fake", "divided/train/real",
           "divided/train/fake", "half/train/real", "half/train/fake"});
  DataOptions o = options();
  o.data = dir_.path() / "flat";
  EXPECT_EQ(counts(open_to_measure(o)), Names{"all 1+1"});
  o.data = dir_.path() / "divided";
  EXPECT_EQ(counts(open_to_measure(o)), Names{"test 1+1"});
  EXPECT_EQ(counts(open_data(o, {"all"})), Names{"all 2+2"});
  o.data = dir_.path() / "half";
  EXPECT_THROW(open_to_measure(o), DataError);
}

}  // namespace
}  // namespace dfengine
