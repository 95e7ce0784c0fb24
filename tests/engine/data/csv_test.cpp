// CSV tables: RFC 4180, what spreadsheets do beside it, and hostile files.
#include "engine/data/sets/csv.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;
using Row = std::vector<std::string>;

// Expected values are those of Python's csv.reader on the same text.
TEST(Csv, QuotesCommasAndLineBreaks) {
  const CsvTable t = parse_csv(
      "a,\"b,c\",\"say \"\"x\"\"\"\n"
      "1,\"two\nlines\r\nthree\",\"\"\n"
      ",a\"b,\"\"\"\"\n",
      "t");
  EXPECT_EQ(t.columns, (Row{"a", "b,c", "say \"x\""}));
  ASSERT_EQ(t.rows.size(), 2u);
  EXPECT_EQ(t.rows[0], (Row{"1", "two\nlines\r\nthree", ""}));
  EXPECT_EQ(t.rows[1], (Row{"", "a\"b", "\""}));
  EXPECT_EQ(t.lines, (std::vector<Index>{2, 5}));
}

TEST(Csv, ByteOrderMarkLineEndsAndEmptyNames) {
  const CsvTable t = parse_csv("\xEF\xBB\xBF,id,label\r\n0,007,1\r\r\n\n1,\xFF,0", "t");
  EXPECT_EQ(t.columns, (Row{"", "id", "label"}));
  ASSERT_EQ(t.rows.size(), 2u);
  EXPECT_EQ(t.rows[0], (Row{"0", "007", "1"}));
  EXPECT_EQ(t.rows[1], (Row{"1", "\xFF", "0"}));
  EXPECT_EQ(t.lines, (std::vector<Index>{2, 5}));
  EXPECT_EQ(t.find(""), 0);
  EXPECT_EQ(t.find("label"), 2);
  EXPECT_EQ(t.find("path"), -1);
  EXPECT_TRUE(parse_csv("only,names", "t").rows.empty());
}

TEST(Csv, ErrorsNameFileAndLine) {
  const auto expect = [](std::string_view text, std::initializer_list<const char*> parts) {
    EXPECT_THROW(parse_csv(text, "my.csv"), DataError);
    const std::string what = thrown_text([&] { parse_csv(text, "my.csv"); });
    for (const char* part : parts) EXPECT_NE(what.find(part), std::string::npos) << what;
  };
  expect("", {"my.csv", "line 1", "empty"});
  expect("\n\n", {"line 1", "empty"});
  expect("a,b\n1,2\n\"x\ny\",1,2\n", {"line 3", "3 fields", "2 columns"});
  expect("a,b\n1\n", {"line 2", "1 fields"});
  expect("a\n1\n\"never\nends\n", {"line 3", "does not end"});
  expect("a\n\"x\"y\n", {"line 2", "after the closing quote"});
  expect(std::string_view("a\nb\n\0c\n", 7), {"line 3", "NUL", "UTF-8"});
  expect(std::string(kMaxCsvColumns, ','), {"line 1", "more than 4096"});
}

TEST(Csv, OtherFormatsAreNamed) {
  const std::pair<std::string, const char*> cases[] = {
      {"PAR1\x15\x04", "t: Parquet"},
      {std::string("PK\3\4\x14\0\6\0", 8), "t: a workbook of Excel or another zip"},
      {"\xD0\xCF\x11\xE0\xA1", "t: a workbook of Excel"},
      {"{\"path\": \"a.jpg\", \"label\": 1}\n", "t: JSON"},
      {"\xEF\xBB\xBF [\n  {\"path\": \"a.jpg\"}]", "t: JSON"},
      {"[[\"path\"], 1]", "t: JSON"}};
  for (const auto& [text, part] : cases) {
    const std::string what = thrown_text([&, text = text] { parse_csv(text, "t"); });
    EXPECT_TRUE(what.starts_with(part) && what.ends_with("export it as CSV")) << what;
  }
  EXPECT_EQ(parse_csv("[id],{n}\n1,2\n", "t").columns, (Row{"[id]", "{n}"}));
}

TEST(Csv, FilesThatCannotBeTables) {
  const TempDir dir;
  EXPECT_THROW(read_csv(dir.path() / "absent.csv"), DataError);
  EXPECT_THROW(read_csv(dir.path()), DataError);
  // A sparse file past the limit is refused before it is read.
  const auto huge = dir.write("huge.csv", "a\n");
  std::filesystem::resize_file(huge, kMaxCsvBytes + 1);
  EXPECT_NE(thrown_text([&] { read_csv(huge); }).find("limit"), std::string::npos);
  EXPECT_EQ(read_csv(dir.write("good.csv", "a\r\n1\r\n")).rows, std::vector<Row>{{"1"}});
}

TEST(Csv, AMillionRows) {
  constexpr std::size_t kRows = 1'000'000;
  std::string text = "path,label\n";
  for (std::size_t i = 0; i < kRows; ++i) text += i % 2 == 0 ? "train/a.jpg,0\n" : "\"b,c\",1\n";
  const CsvTable t = parse_csv(text, "t");
  ASSERT_EQ(t.rows.size(), kRows);
  EXPECT_EQ(t.rows.back(), (Row{"b,c", "1"}));
  EXPECT_EQ(t.lines.back(), static_cast<Index>(kRows) + 1);
}

TEST(Csv, MoreFieldsThanMemoryIsForAreRefused) {
  for (const char end : {'\n', '\r'}) {
    std::string text(kMaxCsvFields + 2, end);
    for (std::size_t i = 0; i < text.size(); i += 2) text[i] = ',';
    EXPECT_NE(thrown_text([&] { parse_csv(text, "t.csv"); }).find("t.csv: 33554434 separators"),
              std::string::npos);
  }
}

TEST(Csv, FieldsComeBack) {
  for (const std::string field : {"", "plain", "a,b", "\"", "line\nbreak", "\r", "caf\xC3\xA9"}) {
    const CsvTable t = parse_csv("x,y\n" + csv_field(field) + ",end\n", "t");
    ASSERT_EQ(t.rows.size(), 1u);
    EXPECT_EQ(t.rows[0][0], field);
  }
}

// A spreadsheet runs a field that begins so.
TEST(Csv, NothingBeginsAFormula) {
  for (const char* first : {"=", "+", "-", "@", "\t", "\r", "\n"}) {
    const std::string text = std::string(first) + "1+1";
    const CsvTable t = parse_csv("x,y\n" + csv_text(text) + "," + csv_path(text) + "\n", "t");
    ASSERT_EQ(t.rows.size(), 1u);
    EXPECT_EQ(t.rows[0][0], "'" + text);
    EXPECT_EQ(t.rows[0][1], "./" + text);
  }
  for (const char* plain : {"", "fake", "a=1", "/-x"}) {
    EXPECT_EQ(csv_text(plain), plain);
    EXPECT_EQ(csv_path(plain), plain);
  }
}

}  // namespace
}  // namespace dfengine
