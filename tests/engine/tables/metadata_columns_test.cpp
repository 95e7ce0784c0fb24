// Columns of a table: types, features, what test tables may hold, and columns that leak the label.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "engine/synth/synth.h"
#include "engine/tables/metadata/encoder.h"
#include "engine/tables/metadata/labelled_table.h"
#include "engine/tables/metadata/property_columns.h"
#include "engine/tables/metadata/values.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::thrown_text;
using Names = std::vector<std::string>;
using Values = std::vector<double>;

TEST(MetadataValues, Numbers) {
  EXPECT_EQ(parse_number("12"), 12.0);
  EXPECT_EQ(parse_number("+0.5"), 0.5);
  EXPECT_EQ(parse_number("-0.5e3"), -500.0);
  EXPECT_EQ(parse_number("0"), 0.0);
  for (const char* text : {"", "007", "-01", "1,5", "12px", "inf", "nan", "1e999", "0x10", "+-1"})
    EXPECT_FALSE(parse_number(text)) << text;
}

TEST(MetadataValues, Timestamps) {
  const auto t = parse_timestamp("2024-02-29T23:05:07.25+02:00");
  ASSERT_TRUE(t);
  EXPECT_EQ(t->year, 2024);
  EXPECT_EQ(t->month, 2);
  EXPECT_EQ(t->day, 29);
  EXPECT_EQ(t->hour, 23);
  EXPECT_EQ(t->minute, 5);
  EXPECT_EQ(t->second, 7);
  EXPECT_EQ(t->weekday(), 3);  // a Thursday
  EXPECT_EQ(parse_timestamp("1970:01:01 00:00:00")->weekday(), 3);
  for (const char* text : {"2024/02/29", "2024-02-29 23:05", "2024-02-29T23:05Z"})
    EXPECT_TRUE(parse_timestamp(text)) << text;
  for (const char* text : {"", "2024-13-01", "2024-02-29T", "2024-02-29T25:00", "24-02-29",
                           "2024-02-29T23:05+0", "2024-02-29 23:05 x", "20240229"})
    EXPECT_FALSE(parse_timestamp(text)) << text;
}

TEST(MetadataValues, MissingAndWords) {
  for (const char* text : {"", "NA", "n/a", "NaN", "NULL", "None"}) EXPECT_TRUE(is_missing(text));
  EXPECT_FALSE(is_missing("0"));
  EXPECT_EQ(trimmed(" \ta b\r\n"), "a b");
  EXPECT_EQ(trimmed(" \t"), "");
  EXPECT_EQ(words("/kaggle/input-1/00.PNG"), (Names{"kaggle", "input", "1", "00", "PNG"}));
}

// A table of one column, and the features of each of its rows.
CsvTable one_column(const Names& values) {
  CsvTable t{{"c"}, {}, {}};
  for (const std::string& v : values) {
    t.rows.push_back({v});
    t.lines.push_back(std::ssize(t.rows) + 1);
  }
  return t;
}

Encoder fit(const Names& values) {
  return fit_encoder(one_column(values), {"c"}, "t");
}

Values features(const Encoder& encoder, const std::string& value) {
  return encoder.encode(one_column({value}), "t").values;
}

void expect_near(const Values& values, const Values& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], expected[i], test::tolerance<double>(10, 10)) << i;
}

TEST(MetadataEncoder, NumbersAreStandardised) {
  const Encoder e = fit({"2", " 4", "6", "8 "});
  EXPECT_EQ(e.columns[0].type, ColumnType::Numeric);
  EXPECT_EQ(e.features(), 1);
  const double deviation = std::sqrt(5.0);  // of the whole, as StandardScaler takes it
  expect_near(features(e, "2"), {-3 / deviation});
  expect_near(features(e, "5"), {0});
  // What training never saw: the mean, and at most ten deviations.
  expect_near(features(e, "many"), {0});
  expect_near(features(e, ""), {0});
  expect_near(features(e, "1e308"), {10});
  expect_near(features(e, "-1e308"), {-10});
}

TEST(MetadataEncoder, MissingValuesGetAnIndicator) {
  const Encoder e = fit({"1", "NA", "3", ""});
  EXPECT_TRUE(e.columns[0].missing);
  EXPECT_EQ(e.features(), 2);
  expect_near(features(e, "3"), {1, 0});
  expect_near(features(e, "null"), {0, 1});
}

TEST(MetadataEncoder, ExtremeNumbersStayFinite) {
  const Encoder e = fit({"1e308", "-1e308", "1e308", "0"});
  for (const char* value : {"1e308", "-1e308", "7"})
    EXPECT_TRUE(std::isfinite(features(e, value)[0])) << value;
}

TEST(MetadataEncoder, LevelsAndRareOnes) {
  Names values(300, "phone");
  for (std::size_t i = 0; i < 100; ++i) values[i] = "camera";
  for (std::size_t i = 100; i < 104; ++i) values[i] = "";
  values[200] = "scanner";
  values[201] = "drone";
  const Encoder e = fit(values);
  EXPECT_EQ(e.columns[0].type, ColumnType::Categorical);
  EXPECT_EQ(e.columns[0].levels, (Names{"phone", "camera", ""}));
  EXPECT_TRUE(e.columns[0].rare);
  EXPECT_EQ(e.features(), 4);
  EXPECT_EQ(features(e, "camera"), (Values{0, 1, 0, 0}));
  EXPECT_EQ(features(e, " NA "), (Values{0, 0, 1, 0}));
  EXPECT_EQ(features(e, "scanner"), (Values{0, 0, 0, 1}));
  EXPECT_EQ(features(e, "never seen"), (Values{0, 0, 0, 1}));
  const Encoder no_rare = fit({"a", "b", "a", "b"});
  EXPECT_EQ(features(no_rare, "z"), (Values{0, 0}));
}

TEST(MetadataEncoder, TimestampsBecomeParts) {
  const Encoder e = fit({"2020-01-06 00:00:00", "2022-07-07 12:00:00", "2022-07-07 12:00:00"});
  EXPECT_EQ(e.columns[0].type, ColumnType::Timestamp);
  EXPECT_EQ(e.features(), 7);
  const ColumnEncoding& c = e.columns[0];
  const double thursday = 3 * 2 * std::numbers::pi / 7;
  const Values monday_parts = {2020, 0, 1, 0, 1, 0, 1};
  const Values thursday_parts = {2022, 0, -1, std::sin(thursday), std::cos(thursday), 0, -1};
  for (std::size_t j = 0; j < 7; ++j) {
    const double mean = (monday_parts[j] + 2 * thursday_parts[j]) / 3;
    EXPECT_NEAR(c.mean[j], mean, test::tolerance<double>(10, 6000)) << j;
  }
  const Values first = features(e, "2020-01-06 00:00:00");
  EXPECT_NEAR(first[0], -std::sqrt(2.0), test::tolerance<double>(10, 6000));  // two in three later
}

TEST(MetadataEncoder, LongListsOfWordsAreText) {
  Names values;
  for (int i = 0; i < 60; ++i)
    values.push_back(i % 2 ? "real/" + std::to_string(1000 + i) + ".jpg"
                           : "fake/AB" + std::to_string(i) + "X.jpg");
  const Encoder e = fit(values);
  EXPECT_EQ(e.columns[0].type, ColumnType::Text);
  // "jpg" is in every row and tells nothing.
  EXPECT_EQ(e.columns[0].levels, (Names{"fake", "real"}));
  EXPECT_EQ(e.features(), 4);
  EXPECT_EQ(features(e, "real/9.png")[3], 1.0);
  EXPECT_EQ(features(e, "real/9.png")[2], 0.0);
}

TEST(MetadataEncoder, OneValueGivesNoFeature) {
  EXPECT_EQ(fit({"x", "x"}).features(), 0);
  EXPECT_EQ(fit({"", "NA"}).features(), 0);
  EXPECT_TRUE(fit({"", "5"}).columns[0].missing);
  EXPECT_EQ(fit({"", "5"}).features(), 2);
}

// The fields of a column and what is said of them, "" for nothing.
std::string said_of(const Encoder& encoder, const Names& values) {
  const auto lines = encoder.unfit_fields(one_column(values), "t.csv");
  return lines.empty() ? "" : *lines.begin();
}

TEST(MetadataEncoder, FieldsThatDoNotFitAreCountedAndNamed) {
  const Encoder numbers = fit({"1", "", "3", "4"});
  EXPECT_EQ(said_of(numbers, {"7", " 8", "NA", "", "null"}), "");
  EXPECT_EQ(
      said_of(numbers, {"7", "1,5", "NA", "abc"}),
      "t.csv: 2 of 4 fields of column 'c' are no numbers, first '1,5' in line 3: they count as "
      "missing");
  const std::string refusal = thrown_text([&] { said_of(numbers, {"x", "y", "8"}); });
  EXPECT_EQ(refusal.find("t.csv: 2 of 3 fields of column 'c' are no numbers, first 'x' in line 2"),
            0u)
      << refusal;
  EXPECT_EQ(said_of(numbers, {}), "");
  const Encoder times = fit({"2020-01-06", "2022-07-07", "2022-07-08"});
  EXPECT_NE(said_of(times, {"2020-01-06", "6.1.2020"}).find("no dates or times"),
            std::string::npos);
  EXPECT_EQ(said_of(fit({"a", "b", "a", "b"}), {"z", "7"}), "") << "levels may be new";
  EXPECT_THROW(numbers.unfit_fields({{"d"}, {}, {}}, "t"), DataError);
}

TEST(MetadataEncoder, AbsentColumnIsNamed) {
  const Encoder e = fit({"1", "2"});
  EXPECT_EQ(thrown_text([&] { e.encode(parse_csv("d\n1\n", "u"), "u.csv"); }),
            "u.csv: there is no column 'c'");
}

LabelledTable labelled(const std::string& text, const std::string& positive = "") {
  return label_table(parse_csv(text, "t.csv"), {}, positive, "t.csv");
}

TEST(MetadataLabels, WordsAndNumbers) {
  EXPECT_EQ(labelled("label\nreal\nFAKE\n").label, (std::vector<int>{0, 1}));
  EXPECT_EQ(labelled("label,label_str\n1,real\n0,fake\n").label, (std::vector<int>{0, 1}));
  EXPECT_EQ(labelled("label,label_str\n1,fake\n0,real\n").label, (std::vector<int>{1, 0}));
  EXPECT_EQ(labelled("label\n1\n0\n", "real").label, (std::vector<int>{0, 1}));
  EXPECT_EQ(labelled("label\n1\n0\n", "fake").label, (std::vector<int>{1, 0}));
  EXPECT_THROW(labelled("label,label_str\n1,real\n0,fake\n1,fake\n"), DataError);
  EXPECT_THROW(labelled("label\n1\n2\n"), DataError);
  EXPECT_THROW(labelled("id\n1\n"), DataError);
}

TEST(MetadataLabels, OfTheSplitThatIsAskedFor) {
  const test::TempDir dir;
  std::string text = "row,Subset,size,label\n";
  for (int i = 0; i < 30; ++i)
    text += fmt::format("{},{},{},{}\n", i,
                        i % 3 == 0   ? " Training"
                        : i % 3 == 1 ? "val"
                                     : "test",
                        i, i % 2 == 0 ? "real" : "fake");
  const auto file = dir.write("t.csv", text);
  const LabelledTable all = read_labelled_csv(file, {});
  EXPECT_EQ(all.table.columns, (Names{"row", "size", "label"}));
  EXPECT_EQ(all.label.size(), 30u);
  const LabelledTable valid = read_labelled_csv(file, {.split = "valid"});
  EXPECT_EQ(valid.table.rows[1], (Names{"4", "4", "real"}));
  EXPECT_EQ(valid.table.lines[1], 6);
  EXPECT_EQ(valid.label, (std::vector<int>{1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(judge_columns(valid)[0].reason, "counts the rows");
  const auto train = dir.write("u.csv", "split,label\ntrain,real\ntrain,fake\n");
  EXPECT_NE(thrown_text([&] {
              read_labelled_csv(train, {.split = "test"});
            }).find("its column split says in no row"),
            std::string::npos);
  const auto odd = dir.write("o.csv", "split,label\ntrain,real\nother,fake\n");
  EXPECT_NE(thrown_text([&] { read_labelled_csv(odd, {}); }).find("line 3, column 'split'"),
            std::string::npos);
}

TEST(MetadataLabels, OfClassesWithNamesOfTheirOwn) {
  const test::TempDir dir;
  const auto file = dir.write("t.csv", "size,label\n1,gen\n2,orig\n");
  EXPECT_EQ(read_labelled_csv(file, {.names = ClassNames("orig,gen")}).label,
            (std::vector<int>{1, 0}));
  EXPECT_THROW(read_labelled_csv(file, {}), DataError);
}

TEST(MetadataFiles, PropertiesComeFromTheHeader) {
  const auto jpeg = draw_synth_jpeg(1, 1, 96, SynthClass::Real);
  const test::TempDir dir;
  dir.write("a.jpg", {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()});
  // Its pixels are not looked at.
  dir.write("cut.jpg", {reinterpret_cast<const char*>(jpeg.data()), jpeg.size() / 2});
  dir.write("b.bmp", "BM, but no picture");
  CsvTable t = parse_csv("path,x\na.jpg,1\ncut.jpg,2\nb.bmp,3\n", "t.csv");
  append_file_properties(t, dir.path(), "t.csv");
  EXPECT_EQ(t.columns, (Names{"path", "x", "file:bytes", "file:width", "file:height",
                              "file:quantisation", "file:subsampling", "file:exif"}));
  EXPECT_EQ(t.rows[0][2], std::to_string(jpeg.size()));
  EXPECT_EQ(t.rows[0][3], "96");
  EXPECT_EQ(t.rows[0][4], "96");
  EXPECT_GT(std::stoi(t.rows[0][5]), 63);  // every step is 1 or more
  EXPECT_EQ(t.rows[0][7], "0");
  EXPECT_EQ(t.rows[1][2], std::to_string(jpeg.size() / 2));
  EXPECT_EQ(Names(t.rows[1].begin() + 3, t.rows[1].end()),
            Names(t.rows[0].begin() + 3, t.rows[0].end()));
  EXPECT_EQ(t.rows[2], (Names{"b.bmp", "3", "18", "", "", "", "", ""}));
  CsvTable png = parse_csv("path\nturned_6.png\n", "t.csv");
  append_file_properties(png, test::golden_folder() / "images", "t.csv");
  EXPECT_EQ(png.rows[0].back(), "1");
  EXPECT_THROW(append_file_properties(t, dir.path(), "t.csv"), DataError);
  CsvTable absent = parse_csv("path\nnone.jpg\n", "t.csv");
  EXPECT_THROW(append_file_properties(absent, dir.path(), "t.csv"), DataError);
  CsvTable pathless = parse_csv("x\n1\n", "t.csv");
  EXPECT_THROW(append_file_properties(pathless, dir.path(), "t.csv"), DataError);
}

// 200 rows: what leaks, what is honest, what tells nothing.
LabelledTable leaky() {
  std::string text = ",id,size,mean,device,same,is_fake,label\n";
  Random random(3, RandomStream::Synth, 0);
  for (int i = 0; i < 200; ++i) {
    const bool fake = random.below(2) == 1;
    const int size = fake ? 500 + static_cast<int>(random.below(20))  // fakes in the middle
                          : (i % 2 ? 100 : 900) + static_cast<int>(random.below(20));
    const double mean = random.normal() + (fake ? 1 : 0);
    text += std::to_string(i) + ",u" + std::to_string(random.bits()) + "," + std::to_string(size) +
            "," + std::to_string(mean) + "," + (random.below(2) ? "phone" : "camera") + ",same," +
            (fake ? "yes" : "no") + "," + (fake ? "fake" : "real") + "\n";
  }
  return labelled(text);
}

TEST(MetadataLeaks, LeakingColumnsAreFoundAndNamed) {
  auto verdicts = judge_columns(leaky());
  using Kind = ColumnVerdict::Kind;
  const std::vector<std::pair<std::string, Kind>> expected = {
      {"", Kind::Leak},       {"id", Kind::Leak},     {"size", Kind::Leak},
      {"mean", Kind::Used},   {"device", Kind::Used}, {"same", Kind::Constant},
      {"is_fake", Kind::Leak}};
  ASSERT_EQ(verdicts.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(verdicts[i].name, expected[i].first);
    EXPECT_EQ(verdicts[i].kind, expected[i].second) << verdicts[i].name << verdicts[i].reason;
  }
  EXPECT_EQ(verdicts[0].reason, "counts the rows");
  EXPECT_GE(verdicts[2].auc, kLeakAuc);
  EXPECT_GT(verdicts[3].auc, 0.6);
  EXPECT_LT(verdicts[3].auc, 0.9);
  EXPECT_TRUE(std::isnan(verdicts[5].auc));
  EXPECT_EQ(choose_columns(verdicts, {}, false), (Names{"mean", "device"}));
  EXPECT_EQ(choose_columns(verdicts, {}, true),
            (Names{"", "id", "size", "mean", "device", "is_fake"}));
  EXPECT_EQ(choose_columns(verdicts, {"mean"}, false), Names{"device"});
  EXPECT_EQ(verdicts[3].kind, Kind::Excluded);
  EXPECT_THROW(choose_columns(verdicts, {"colour"}, false), UsageError);
}

TEST(MetadataLeaks, OfTheRealTableNothingIsLeft) {
  const auto dir = test::data_folder();
  if (dir.empty()) GTEST_SKIP() << "no DFENGINE_DATA: third-party tables are not in the repository";
  auto verdicts = judge_columns(read_labelled_csv(dir / "faces140k/train.csv", {}));
  EXPECT_EQ(verdicts.size(), 5u);
  EXPECT_EQ(choose_columns(verdicts, {}, false), Names{});
}

}  // namespace
}  // namespace dfengine
