// Tables as people bring them: other names of columns, separators, labels and paths.
#include "engine/data/sets/table_columns.h"

#include <gtest/gtest.h>

#include "engine/data/sets/csv_source.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;
using Names = std::vector<std::string>;

class TableColumns : public testing::Test {
 protected:
  TableColumns() {
    for (const char* file : {"real/a.jpg", "fake/b.jpg", "x/c.jpg", "x/d.jpg"})
      dir_.write(std::string("set/") + file, "x");
  }
  TableSource source(const std::string& text, const TableOptions& options = {}) {
    return read_table_source(dir_.write("set/list.csv", text), options);
  }
  Names read(const std::string& text, const TableOptions& options = {}) {
    Names all;
    for (const Sample& s : source(text, options).dataset.samples)
      all.push_back(s.relative + " " + std::to_string(s.label));
    return all;
  }
  void expect_refused(const std::string& text, std::initializer_list<const char*> parts,
                      const TableOptions& options = {}) {
    EXPECT_THROW(source(text, options), DataError) << text;
    const std::string what = thrown_text([&] { source(text, options); });
    for (const char* part : parts) EXPECT_NE(what.find(part), std::string::npos) << what;
  }

  TempDir dir_;
  const Names expected_ = {"fake/b.jpg 1", "real/a.jpg 0"};
};

TEST_F(TableColumns, UsualNamesInAnyCase) {
  for (const char* header :
       {"path,label", "Path,Label", "PATH,LABEL", "filename,class", "File Name,Target",
        "image,target", "image_path,category", " img , y_true,label", "filepath,Class Name",
        "ImagePath,ClassLabel", "image_id,labels", "image.file,category"}) {
    const std::string extra = std::string(header).find("y_true") != std::string::npos ? ",7" : "";
    EXPECT_EQ(read(std::string(header) + "\nreal/a.jpg" + extra + ",real\nfake/b.jpg" + extra +
                   ",fake\n"),
              expected_)
        << header;
  }
}

TEST_F(TableColumns, TheNameOfAColumnMaySayWhatOneMeans) {
  EXPECT_EQ(read("path,is_fake\nx/c.jpg,0\nx/d.jpg,1\n"), (Names{"x/c.jpg 0", "x/d.jpg 1"}));
  EXPECT_EQ(read("path,Is Real\nx/c.jpg,0\nx/d.jpg,1\n"), (Names{"x/c.jpg 1", "x/d.jpg 0"}));
  EXPECT_EQ(read("path,isDeepfake\nx/c.jpg,no\nx/d.jpg,Yes\n"), (Names{"x/c.jpg 0", "x/d.jpg 1"}));
  EXPECT_EQ(read("path,is_authentic\nx/c.jpg,N\nx/d.jpg,y\n"), (Names{"x/c.jpg 1", "x/d.jpg 0"}));
  // An id beside a name is no second name.
  EXPECT_EQ(read("image_id,file,is_ai\n1,x/c.jpg,f\n2,x/d.jpg,t\n"),
            (Names{"x/c.jpg 0", "x/d.jpg 1"}));
  expect_refused("path,is_fake\nreal/a.jpg,1\nfake/b.jpg,0\n", {"2 of 2 rows", "line 2"});
}

TEST_F(TableColumns, OptionsNameAnyColumn) {
  const TableOptions named = {.columns = {.path = "where", .label = "what"}};
  EXPECT_EQ(read("path,label,where,what\nno,7,real/a.jpg,0\nno,8,fake/b.jpg,1\n", named),
            expected_);
  expect_refused("path,label\nreal/a.jpg,0\n", {"no column 'where'", "--path-column", "'label'"},
                 named);
  expect_refused("location,label\nreal/a.jpg,0\n",
                 {"no column 'path'", "'location'", "--path-column NAME"});
  expect_refused("path,verdict\nreal/a.jpg,0\n", {"no column 'label'", "--label-column NAME"});
  expect_refused("image,filename,label\nreal/a.jpg,real/a.jpg,0\n",
                 {"'filename' and 'image'", "--path-column"});
  expect_refused("path,class,target\nreal/a.jpg,0,0\n", {"'class' and 'target'", "--label-column"});
}

TEST_F(TableColumns, BooleansAreNumbers) {
  for (const auto& [yes, no] : {std::pair{"True", "False"}, {"TRUE", "false"}, {" 1 ", "0.0"}}) {
    EXPECT_EQ(read(fmt::format("path,label\nreal/a.jpg,{}\nfake/b.jpg,{}\n", no, yes)), expected_);
    EXPECT_EQ(read(fmt::format("path,label\nreal/a.jpg,{}\nfake/b.jpg,{}\n", yes, no)), expected_);
  }
}

TEST_F(TableColumns, SpacesAroundAPathAreNoPartOfIt) {
  EXPECT_EQ(read("path , label\n real/a.jpg , real\nfake/b.jpg\t, fake\n"), expected_);
  expect_refused("path,label\nreal/a.jpg,real\n  ,fake\n", {"line 3", "no path"});
}

TEST_F(TableColumns, RefusalsNameRowColumnAndOption) {
  expect_refused("file,target\nreal/a.jpg,0\nfake/b.jpg,maybe\n",
                 {"line 3", "column 'target'", "label 'maybe'", "--classes", "--label-column"});
  expect_refused("image,label\nreal/a.jpg,0\nfake/b.jpg,1\n,1\n",
                 {"line 4", "column 'image'", "--path-column"});
  expect_refused("path,label,split\nreal/a.jpg,0,train\nfake/b.jpg,1,later\n",
                 {"line 3", "column 'split'", "'later'"});
}

TEST_F(TableColumns, TwoColumnsOfOneNameMustAgree) {
  expect_refused("path,label,label\nreal/a.jpg,real,real\nfake/b.jpg,fake,real\n",
                 {"two columns are called 'label'", "line 3", "'fake' and 'real'"});
  expect_refused("path,Label,label\nreal/a.jpg,0,1\nfake/b.jpg,1,0\n", {"two columns", "line 2"});
  expect_refused("path,path,label\nreal/a.jpg,fake/b.jpg,0\n", {"two columns are called 'path'"});
  expect_refused("path,label,split,split\nreal/a.jpg,real,train,test\n", {"called 'split'"});
  EXPECT_EQ(read("path,label,label\nreal/a.jpg,0,0\nfake/b.jpg,1,1\n"), expected_);
}

TEST_F(TableColumns, SplitsByOtherNamesWhereARowIsOne) {
  const TableSource by_subset =
      source("path,label,subset\nreal/a.jpg,0,Training\nfake/b.jpg,1,VAL\n");
  EXPECT_EQ(by_subset.splits, (Names{"valid", "train"}));
  EXPECT_TRUE(source("path,label,set\nreal/a.jpg,0,A\nfake/b.jpg,1,B\n").splits.empty());
  for (const char* other : {"holdout", "extra", ""})
    expect_refused(fmt::format("path,label,set\nreal/a.jpg,0,train\nfake/b.jpg,1,{}\n", other),
                   {"line 3, column 'set'", "none of train, valid, test"});
}

TEST_F(TableColumns, SpacesAroundAGroupOrAColumnsNameAreNoPartOfIt) {
  const TableSource grouped = source("path,label, person \nreal/a.jpg,0, p1\nfake/b.jpg,1,p1 \n",
                                     {.group_column = "person"});
  EXPECT_EQ(grouped.groups, (Names{"p1", "p1"}));
  EXPECT_EQ(grouped.dataset.samples[0].group, "p1");
  EXPECT_EQ(read(" where,what \nreal/a.jpg,0\nfake/b.jpg,1\n",
                 {.columns = {.path = "where", .label = "what"}}),
            expected_);
}

TEST_F(TableColumns, IdsThatArePathsTellTheClass) {
  EXPECT_EQ(read("image_id,label\nreal/a.jpg,1\nfake/b.jpg,0\n"), expected_);
  expect_refused("img_id,label_str,label\nreal/a.jpg,fake,fake\nfake/b.jpg,real,real\n",
                 {"2 of 2 rows", "folder real"});
}

TEST_F(TableColumns, SpacesAroundALabelInWordsAreNoPartOfIt) {
  for (const char* classes : {"orig,ai gen", " Orig , AI gen "})
    EXPECT_EQ(read("path,label\nx/c.jpg, orig\nx/d.jpg,AI gen \n", {.names = ClassNames(classes)}),
              (Names{"x/c.jpg 0", "x/d.jpg 1"}))
        << classes;
}

TEST_F(TableColumns, PathsOfWindowsAndOfOtherMachines) {
  EXPECT_EQ(read("path,label\nreal\\a.jpg,0\nfake\\b.jpg,1\n"), expected_);
  const Names windows = {"C:\\Users\\me\\faces\\real\\a.jpg,0\n",
                         "C:\\Users\\me\\faces\\fake\\b.jpg,1\n"};
  const TableSource elsewhere = source("path,label\n" + windows[0] + windows[1]);
  EXPECT_EQ(elsewhere.dataset.samples[0].relative, "fake/b.jpg");
  EXPECT_NE(elsewhere.label_rule.find("paths of Windows, paths without their first 3 folders"),
            std::string::npos)
      << elsewhere.label_rule;
  EXPECT_EQ(read("path,label\n/kaggle/input/real/a.jpg,0\n/kaggle/input/fake/b.jpg,1\n"),
            expected_);
  // A name may hold a backslash where files are called so.
  dir_.write("set/fake/odd\\name.jpg", "x");
  EXPECT_EQ(read("path,label\nreal/a.jpg,0\nfake/odd\\name.jpg,1\n"),
            (Names{"fake/odd\\name.jpg 1", "real/a.jpg 0"}));
}

// Without their folders two paths would be one file.
TEST_F(TableColumns, PathsAreNotShortenedUntilTheyMeet) {
  dir_.write("set/1.jpg", "x");
  expect_refused("path,label\nold/real/1.jpg,0\nold/fake/1.jpg,1\n", {"none of 2 of its files"});
}

TEST_F(TableColumns, OtherSeparators) {
  for (const char separator : {',', ';', '\t', '|'}) {
    std::string text = "sep=?\npath?label?note\nreal/a.jpg?0?\"x?,;\"\nfake/b.jpg?1?\n";
    std::ranges::replace(text, '?', separator);
    EXPECT_EQ(read(text.substr(6)), expected_);
    EXPECT_EQ(read(text), expected_) << "as spreadsheets name it";
  }
  expect_refused("path;label\nreal/a.jpg;0\nfake/b.jpg\n", {"line 3", "separated by ';'"});
  EXPECT_EQ(parse_csv("\"a;b;c\",d\n1,2\n", "t").columns, (Names{"a;b;c", "d"}));
  EXPECT_EQ(parse_csv("one\n1;2\n", "t").rows[0], Names{"1;2"});
}

TEST(NameColumns, GivesTheUsualNamesAndKeepsOthersApart) {
  CsvTable table = parse_csv("Image,label,what\n a\\b.jpg ,7,1\n", "t");
  name_columns(table, {.label = "what"}, "t");
  EXPECT_EQ(table.columns, (Names{"path", "label (another)", "label"}));
  EXPECT_EQ(table.rows[0][0], "a/b.jpg");
  CsvTable ids = parse_csv("image_id,label\na.jpg,7\n", "t"), numbers = ids;
  name_columns(ids, {}, "t");
  EXPECT_EQ(ids.columns[0], "path");
  numbers.rows[0][0] = "17";
  name_columns(numbers, {}, "t");
  EXPECT_EQ(numbers.columns[0], "image_id");
}

}  // namespace
}  // namespace dfengine
