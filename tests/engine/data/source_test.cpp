// Sources of labelled pictures: layouts of folders and tables, labels, and what they refuse.
#include "engine/data/sets/source.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;
using Names = std::vector<std::string>;

// "path label" of every sample.
Names listing(const Dataset& data) {
  Names all;
  for (const Sample& s : data.samples) all.push_back(s.relative + " " + std::to_string(s.label));
  return all;
}

DataOptions in(const std::filesystem::path& data) {
  DataOptions o;
  o.data = data;
  return o;
}

template <class E>
void expect_refused(const DataOptions& o, const Names& wanted,
                    std::initializer_list<const char*> parts) {
  EXPECT_THROW(open_data(o, wanted), E);
  const std::string text = thrown_text([&] { open_data(o, wanted); });
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(FolderSource, KnowsTheUsualNamesUpToTwoLevelsDown) {
  const char* classes[][2] = {
      {"real", "fake"}, {"0_real", "1_fake"}, {"nature", "ai"}, {"REAL", "FAKE"}};
  for (const auto& [real, fake] : classes) {
    for (const std::string above : {"", "real_vs_fake/", "real_vs_fake/real-vs-fake/"}) {
      const TempDir dir;
      for (const char* split : {"train/", "val/"}) {
        dir.write(above + split + real + "/a.jpg", "x");
        dir.write(above + split + fake + "/b.jpg", "x");
      }
      const DataSource source = open_data(in(dir.path()), {"train", "valid"});
      ASSERT_EQ(source.splits.size(), 2u);
      Names train = {std::string("train/") + real + "/a.jpg 0",
                     std::string("train/") + fake + "/b.jpg 1"};
      std::sort(train.begin(), train.end());
      EXPECT_EQ(listing(source.splits[0]), train);
      EXPECT_EQ(source.splits[1].split, "valid");
      EXPECT_EQ(source.splits[1].samples.size(), 2u);
      EXPECT_NE(source.describe().find("train: 1 real + 1 fake"), std::string::npos);
      expect_refused<DataError>(in(dir.path()), {"test"}, {"no folder test/", "train/, val/"});
    }
  }
}

TEST(FolderSource, AnyTwoNamesOfClasses) {
  const TempDir dir;
  dir.write("train/Celeb-real/a.jpg", "x");
  dir.write("train/Celeb-synthesis/b.jpg", "x");
  dir.write("train/real/c.jpg", "x");
  DataOptions o = in(dir.path());
  expect_refused<DataError>(o, {"train"}, {"no folder fake/", "--classes"});
  o.classes = "celeb-real,celeb-synthesis";
  EXPECT_EQ(listing(open_data(o, {"train"}).splits[0]),
            (Names{"train/Celeb-real/a.jpg 0", "train/Celeb-synthesis/b.jpg 1"}));
  for (const char* bad : {"one", "a,", ",b", "a,A", "a,b,c"}) {
    o.classes = bad;
    expect_refused<UsageError>(o, {"train"}, {"--classes", bad});
  }
}

TEST(FolderSource, SaysWhatItDoesNotFindOrFindsTwice) {
  const TempDir dir;
  dir.write("pictures/a.jpg", "x");
  expect_refused<DataError>(in(dir.path()), {"train"}, {"neither train/", "--classes"});
  for (const char* set : {"one", "two"}) {
    dir.write(std::string(set) + "/train/real/a.jpg", "x");
    dir.write(std::string(set) + "/train/fake/a.jpg", "x");
  }
  expect_refused<DataError>(in(dir.path()), {"train"}, {"several sets", "one", "two"});
  dir.write("one/train/0_real/b.jpg", "x");
  expect_refused<DataError>(in(dir.path() / "one"), {"train"},
                            {"more than one folder of class real", "0_real/", "--classes"});
  expect_refused<UsageError>({}, {"train"}, {"--data"});
}

TEST(FolderSource, ASetWithoutSplitsIsAskedForByName) {
  const TempDir dir;
  for (const char* file : {"0_real/a.jpg", "1_fake/b.jpg"}) dir.write(file, "x");
  expect_refused<UsageError>(in(dir.path()), {"train", "valid"}, {"fractions", "all"});
  expect_refused<UsageError>(in(dir.path()), {"test"}, {"fractions", "all"});
  for (const Names& wanted : {Names{"all"}, Names{}}) {
    EXPECT_EQ(listing(open_data(in(dir.path()), wanted).splits[0]),
              (Names{"0_real/a.jpg 0", "1_fake/b.jpg 1"}));
  }
}

TEST(FolderSource, LinksAreFollowedOnceAndLoopsReported) {
  const TempDir dir;
  dir.write("elsewhere/deep/c.jpg", "x");
  dir.write("train/real/a.jpg", "x");
  dir.write("train/fake/b.jpg", "x");
  namespace fs = std::filesystem;
  fs::create_directory_symlink(dir.path() / "elsewhere", dir.path() / "train/real/linked");
  fs::create_directory_symlink("..", dir.path() / "train/real/up");
  fs::create_directory_symlink(dir.path() / "elsewhere/deep", dir.path() / "train/fake/again");
  fs::create_symlink("self.jpg", dir.path() / "train/fake/self.jpg");
  fs::create_symlink("loop", dir.path() / "train/fake/loop");
  const Dataset data = open_data(in(dir.path()), {"train"}).splits[0];
  EXPECT_EQ(listing(data), (Names{"train/fake/again/c.jpg 1", "train/fake/b.jpg 1",
                                  "train/fake/self.jpg 1", "train/real/a.jpg 0"}));
  Names aside;
  for (const BadFile& bad : data.unlisted) aside.push_back(bad.relative);
  EXPECT_EQ(aside, (Names{"train/fake/loop", "train/real/linked/deep", "train/real/up"}));
}

class TableSourceTest : public testing::Test {
 protected:
  TableSourceTest() {
    for (const char* file : {"real/a.jpg", "real/b.jpg", "fake/c.jpg", "x/d.jpg"})
      dir_.write(std::string("set/inner/") + file, "x");
  }
  DataOptions table(const std::string& text) {
    DataOptions o;
    o.csv = dir_.write("set/list.csv", text);
    return o;
  }
  Names read(const DataOptions& o) { return listing(open_data(o, {"all"}).splits[0]); }

  TempDir dir_;
  const Names expected_ = {"fake/c.jpg 1", "real/a.jpg 0", "real/b.jpg 0"};
};

TEST_F(TableSourceTest, BothColumnSetsOfTheRealSet) {
  const DataOptions own = table(
      "\xEF\xBB\xBF,original_path,id,label,label_str,path\r\n0,/k/1.png,1,1,real,real/a.jpg\r\n"
      "1,\"/k,2.png\",2,1,real,real/b.jpg\r\n2,,3,0,fake,fake/c.jpg\r\n");
  EXPECT_EQ(read(own), expected_);
  const DataSource source = open_data(own, {"all"});
  EXPECT_EQ(source.splits[0].root, dir_.path() / "set/inner");
  EXPECT_NE(source.layout.find("label 1 = real (by label_str)"), std::string::npos);
  // Where label is the only word on it, the folders tell which class 1 is.
  EXPECT_EQ(read(table("image_id,label,path\n1,1,real/a.jpg\n2,1,real/b.jpg\n3,0,fake/c.jpg\n")),
            expected_);
  EXPECT_EQ(read(table("image_id,label,path\n1,0,real/a.jpg\n2,0,real/b.jpg\n3,1,fake/c.jpg\n")),
            expected_);
  EXPECT_EQ(read(table("label,path\nreal,real/a.jpg\nREAL,real/b.jpg\nfake,fake/c.jpg\n")),
            expected_);
}

TEST_F(TableSourceTest, LabelsThatNothingExplainsNeedAWord) {
  DataOptions o = table("path,label\nx/d.jpg,1\nx/e.jpg,0\n");
  expect_refused<UsageError>(o, {"all"}, {"--label-positive"});
  o.label_positive = "fake";
  EXPECT_EQ(read(o), (Names{"x/d.jpg 1", "x/e.jpg 0"}));
  o.label_positive = "real";
  EXPECT_EQ(read(o), (Names{"x/d.jpg 0", "x/e.jpg 1"}));
  o.label_positive = "yes";
  expect_refused<UsageError>(o, {"all"}, {"--label-positive"});
}

TEST_F(TableSourceTest, LabelsThatContradictStopWithCountAndRows) {
  const DataOptions folders =
      table("label,path\n1,real/a.jpg\n1,real/b.jpg\n1,fake/c.jpg\n0,fake/d.jpg\n");
  expect_refused<DataError>(folders, {"all"}, {"1 of 4 rows", "line 4", "folder fake"});
  const DataOptions words = table(
      "label,label_str,path\n1,real,real/a.jpg\n1,fake,real/b.jpg\n0,fake,fake/c.jpg\n"
      "1,real,fake/d.jpg\n");
  expect_refused<DataError>(words, {"all"}, {"2 of 4 rows", "line 3", "label_str fake", "line 5"});
  DataOptions said = table("label,path\n1,real/a.jpg\n0,fake/c.jpg\n");
  said.label_positive = "fake";
  expect_refused<DataError>(said, {"all"}, {"2 of 2 rows", "line 2", "line 3"});
  expect_refused<DataError>(table("label,path\n2,real/a.jpg\n"), {"all"}, {"line 2", "label '2'"});
  expect_refused<DataError>(table("label,path\nreal,x\nfake,\n"), {"all"}, {"line 3", "no path"});
}

TEST_F(TableSourceTest, ColumnsAndFilesThatAreMissing) {
  expect_refused<DataError>(table("id,label\n1,1\n"), {"all"}, {"no column 'path'", "'id'"});
  expect_refused<DataError>(table("path\nreal/a.jpg\n"), {"all"}, {"no column 'label'"});
  expect_refused<DataError>(table("path,label\n"), {"all"}, {"no row"});
  expect_refused<DataError>(table("path,label\nno/real/a.jpg,0\nno/fake/b.jpg,1\n"), {"all"},
                            {"none of 2 of its files", "no/real/a.jpg", "--data"});
  DataOptions o = table("path,label\nreal/a.jpg,0\nfake/c.jpg,1\n");
  o.group_column = "person";
  expect_refused<DataError>(o, {"all"}, {"no column 'person'"});
}

TEST_F(TableSourceTest, ATablePerSplitAndAColumnSplit) {
  const DataOptions one =
      table("path,label,split\nreal/a.jpg,0,train\nfake/c.jpg,1,train\nreal/b.jpg,0,val\n");
  EXPECT_EQ(open_data(one, {"train"}).splits[0].samples.size(), 2u);
  expect_refused<DataError>(one, {"valid"}, {"split valid", "no fake"});
  DataOptions o = table("path,label\nreal/a.jpg,0\nfake/c.jpg,1\n");
  dir_.write("set/inner/fake/e.jpg", "x");
  o.valid_csv = dir_.write("v.csv", "path,label\nreal/b.jpg,0\nfake/e.jpg,1\n");
  const DataSource source = open_data(o, {"valid", "train"});
  EXPECT_EQ(source.splits[0].split, "valid");
  EXPECT_EQ(listing(source.splits[0]), (Names{"fake/e.jpg 1", "real/b.jpg 0"}));
  EXPECT_EQ(source.splits[0].root, dir_.path() / "set/inner");
  expect_refused<UsageError>(o, {"test"}, {"no table for split test"});
}

// Of one table for several splits each takes its own rows.
TEST_F(TableSourceTest, ATableForOneSplitGivesTheRowsOfThatSplit) {
  dir_.write("set/inner/fake/e.jpg", "x");
  DataOptions o = table(
      "path,label,split,maker\nreal/a.jpg,0,train,m\nfake/c.jpg,1,train,n\nreal/b.jpg,0,val,o\n"
      "fake/e.jpg,1,val,p\n");
  o.valid_csv = o.csv;
  o.group_column = "maker";
  const DataSource source = open_data(o, {"train", "valid"});
  EXPECT_EQ(listing(source.splits[0]), (Names{"fake/c.jpg 1", "real/a.jpg 0"}));
  EXPECT_EQ(listing(source.splits[1]), (Names{"fake/e.jpg 1", "real/b.jpg 0"}));
  EXPECT_EQ(source.splits[1].samples[0].group, "p");
  EXPECT_NE(source.layout.find("2 of 4 rows by its column split"), std::string::npos)
      << source.layout;
  std::swap(o.csv, o.test_csv);
  expect_refused<DataError>(o, {"test"}, {"list.csv is named for split test", "train or valid"});
  EXPECT_EQ(open_data(o, {"valid"}).splits[0].samples.size(), 2u) << "which asks for no test";
}

TEST_F(TableSourceTest, TablesOfSeveralSplitsShareNoPicture) {
  DataOptions o = table("path,label\nreal/a.jpg,0\nfake/c.jpg,1\n");
  o.test_csv = o.csv;
  expect_refused<UsageError>(o, {"train"}, {"list.csv (train)", "list.csv (test)", "and 1 more"});
  o.test_csv = dir_.write(
      "t.csv", "path,label\nset/inner/./real/../real/a.jpg,0\nset/inner/fake/absent.jpg,1\n");
  expect_refused<UsageError>(o, {"test"}, {"inner/real/a.jpg: figures"});
  o.test_csv =
      dir_.write("t.csv", "path,label\nset/inner/real/b.jpg,real\nset/inner/x/d.jpg,fake\n");
  EXPECT_EQ(open_data(o, {}).splits.size(), 2u);
  // A table without labels, as competitions have it for test, is refused where it is asked for.
  o.test_csv = dir_.write("t.csv", "path\nset/inner/real/b.jpg\n");
  EXPECT_EQ(open_data(o, {"train"}).splits.size(), 1u);
  expect_refused<DataError>(o, {"test"}, {"t.csv has no column 'label'"});
}

TEST_F(TableSourceTest, APictureHasOneLabelAndOneSplit) {
  expect_refused<DataError>(table("path,label\nreal/a.jpg,real\n./real/a.jpg,fake\n"), {"all"},
                            {"1 of 2 rows", "line 2: real, line 3: fake, ./real/a.jpg"});
  expect_refused<DataError>(table("path,label,split\nreal/a.jpg,real,train\n"
                                  "fake/c.jpg,fake,train\nreal/a.jpg,real,test\n"),
                            {"train"}, {"another split", "line 2: train, line 4: test"});
  // The same said twice weighs a picture.
  EXPECT_EQ(read(table("path,label\nreal/a.jpg,real\nreal/a.jpg,real\nfake/c.jpg,fake\n")).size(),
            3u);
}

TEST_F(TableSourceTest, OptionsOfATableAreRefusedWhereNoneIsRead) {
  DataOptions folder = in(dir_.path() / "set");
  for (std::string DataOptions::*option :
       {&DataOptions::path_column, &DataOptions::label_column, &DataOptions::group_column}) {
    DataOptions o = folder;
    o.*option = "nope";
    expect_refused<UsageError>(o, {"all"}, {"no table is read: leave out --", "-column"});
  }
  folder.label_positive = "real";
  expect_refused<UsageError>(folder, {"all"}, {"leave out --label-positive"});
  DataOptions two = table("path,label\nreal/a.jpg,0\nfake/c.jpg,1\n");
  two.data = two.csv;
  expect_refused<UsageError>(two, {"all"}, {"is a table", "leave out --csv"});
}

// Splits whose pictures have the same names, as Kaggle's sets with a table for each split.
class SplitFolders : public testing::Test {
 protected:
  SplitFolders() {
    for (const auto& [split, pictures] : {std::pair{"train", 8}, {"valid", 4}, {"test", 4}}) {
      for (int i = 0; i < pictures; ++i) dir_.write(fmt::format("{}/{}.png", split, i), split);
      table(std::string(split) + ".csv", pictures);
    }
  }
  std::filesystem::path table(const std::string& name, int rows) {
    std::string text = "filename,label\n";
    for (int i = 0; i < rows; ++i) text += fmt::format("{}.png,{}\n", i, i % 2 ? "fake" : "real");
    return dir_.write(name, text);
  }
  std::filesystem::path root_of(const std::filesystem::path& csv, const std::string& data = "") {
    DataOptions o;
    o.csv = csv;
    if (!data.empty()) o.data = dir_.path() / data;
    return open_data(o, {"all"}).splits[0].root.lexically_relative(dir_.path());
  }

  TempDir dir_;
};

TEST_F(SplitFolders, ATableTakesTheFolderThatIsCalledLikeIt) {
  DataOptions o;
  o.csv = dir_.path() / "train.csv";
  o.valid_csv = dir_.path() / "valid.csv";
  o.test_csv = dir_.path() / "test.csv";
  const DataSource source = open_data(o, {"train", "valid", "test"});
  for (const Dataset& split : source.splits) EXPECT_EQ(split.root, dir_.path() / split.split);
  const std::string root = "paths begin at " + (dir_.path() / "test").string();
  EXPECT_NE(source.layout.find(root), std::string::npos) << source.layout;
  // A few files that are gone make no other folder the right one.
  std::filesystem::remove(dir_.path() / "test/2.png");
  EXPECT_EQ(root_of(dir_.path() / "test.csv"), "test");
}

TEST_F(SplitFolders, ATablesPartNamesItsFolderWhereItsNameDoesNot) {
  DataOptions o;
  o.csv = table("a.csv", 4);
  o.valid_csv = table("b.csv", 4);
  const DataSource source = open_data(o, {"train", "valid"});
  for (const Dataset& split : source.splits) EXPECT_EQ(split.root, dir_.path() / split.split);
}

TEST_F(SplitFolders, SeveralFoldersThatHoldTheSameNamesAreRefused) {
  DataOptions o;
  o.csv = table("list.csv", 4);
  const std::string test = (dir_.path() / "test").string();
  expect_refused<DataError>(o, {"all"}, {"list.csv", "0.png", test.c_str(), "--data"});
  EXPECT_EQ(root_of(o.csv, "valid"), "valid");
  EXPECT_EQ(root_of(table("long.csv", 8)), "train") << "alone holds all";
  std::filesystem::create_directory_symlink("train", dir_.path() / "a");
  EXPECT_EQ(root_of(dir_.path() / "long.csv"), "a") << "another name of the same folder";
}

TEST(DataOptionsJson, RoundTripOfBytesThatAreNoText) {
  DataOptions o;
  o.data = "caf\xE9/\xC3\xA9";
  o.csv = "train.csv";
  o.fractions = {.8, .1, .1};
  o.seed = 7;
  o.on_bad = OnBad::Fail;
  const auto json = nlohmann::json::parse(to_json(o).dump());
  const DataOptions back = data_options_from_json(json);
  EXPECT_EQ(back.data, o.data);
  EXPECT_EQ(back.fractions, o.fractions);
  EXPECT_EQ(back.on_bad, o.on_bad);
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(json.at("csv"), "train.csv");
  EXPECT_EQ(readable("caf\xE9"), "caf\xEF\xBF\xBD");
}

TEST(FolderSource, TheRealSetByFoldersAndByTables) {
  const auto faces = test::data_folder() / "faces140k";
  if (!std::filesystem::is_directory(faces)) GTEST_SKIP() << "no faces140k in DFENGINE_DATA";
  DataOptions tables;
  tables.csv = faces / "train.csv";
  tables.valid_csv = faces / "valid.csv";
  tables.test_csv = faces / "test.csv";
  const DataSource by_folder = open_data(in(faces), {}), by_table = open_data(tables, {});
  ASSERT_EQ(by_folder.splits.size(), 3u);
  ASSERT_EQ(by_table.splits.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(listing(by_table.splits[i]), listing(by_folder.splits[i]));
}

}  // namespace
}  // namespace dfengine
