// Labelled pictures in tars: their classes and splits, and the order in which training visits them.
#include "engine/data/sets/tar_source.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "engine/data/digest.h"
#include "engine/data/sets/source.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/data/tar_writer.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;
using Files = std::vector<std::pair<std::string, std::string>>;

class TarSource : public testing::Test {
 protected:
  void write(const std::string& name, const Files& files) const {
    std::filesystem::create_directories((dir_.path() / name).parent_path());
    std::ofstream(dir_.path() / name, std::ios::binary) << test::tar_of(files);
  }
  DataSource open(const std::string& pattern, const std::vector<std::string>& wanted = {}) const {
    DataOptions o = options_;
    o.data = dir_.path() / pattern;
    return open_data(o, wanted);
  }
  static std::vector<std::string> listing(const Dataset& data) {
    std::vector<std::string> all;
    for (const Sample& s : data.samples) all.push_back(s.relative + " " + std::to_string(s.label));
    return all;
  }

  TempDir dir_;
  DataOptions options_;
};

TEST_F(TarSource, ClassesStandBesideThePictures) {
  write("s/0.tar",
        {{"a/1.v.jpg", "1"}, {"a/1.cls", "fake\n"}, {"a/2.cls", "Real"}, {"a/2.png", "2"}});
  write("s/1.tar", {{"3.jpg", "3"}, {"3.json", R"({"label": "real", "n": 1})"}, {"3.txt", "x"}});
  const DataSource source = open("s/{0..1}.tar", {"all"});
  EXPECT_EQ(listing(source.splits.at(0)),
            (std::vector<std::string>{"0.tar/a/1.v.jpg 1", "0.tar/a/2.png 0", "1.tar/3.jpg 0"}));
  EXPECT_EQ(source.splits[0].root, dir_.path() / "s");
  std::vector<std::byte> bytes;
  source.splits[0].tars->read(source.splits[0].samples[2].record, bytes);
  EXPECT_EQ(bytes, std::vector<std::byte>{std::byte{'3'}});
  // A digest sees what is in the tars and not where they lie.
  const std::string before = digest(source.splits[0], {});
  std::filesystem::rename(dir_.path() / "s", dir_.path() / "t");
  EXPECT_EQ(digest(open("t/{0..1}.tar", {"all"}).splits[0], {}), before);
  write("t/1.tar", {{"3.jpg", "33"}, {"3.cls", "real"}});
  EXPECT_NE(digest(open("t/{0..1}.tar", {"all"}).splits[0], {}), before);
}

TEST_F(TarSource, NumbersNeedAMeaning) {
  write("n.tar", {{"1.jpg", "1"}, {"1.cls", "1"}, {"2.jpg", "2"}, {"2.json", R"({"cls": 0})"}});
  EXPECT_THROW(open("n.tar", {"all"}), UsageError);
  for (const std::string positive : {"real", "fake"}) {
    options_.label_positive = positive;
    const DataSource source = open("n.tar", {"all"});
    EXPECT_EQ(source.splits[0].samples[0].label, positive == "fake" ? 1 : 0);
    EXPECT_EQ(source.splits[0].samples[1].label, positive == "fake" ? 0 : 1);
  }
}

TEST_F(TarSource, SplitsComeFromNotesOrNames) {
  const auto pair = [](const std::string& more) {
    return Files{{"1.jpg", "1" + more},
                 {"1.json", R"({"label":"fake")" + more + "}"},
                 {"2.jpg", "22" + more},
                 {"2.json", R"({"label":"real")" + more + "}"}};
  };
  write("train-000.tar", pair(""));
  write("train-001.tar", pair(R"(,"split":"val")"));
  const DataSource source = open("train-{000..001}.tar");
  ASSERT_EQ(source.splits.size(), 2u);
  EXPECT_EQ(source.splits[0].split, "train");
  EXPECT_EQ(source.splits[1].split, "valid");
  EXPECT_EQ(listing(source.splits[1]),
            (std::vector<std::string>{"train-001.tar/1.jpg 1", "train-001.tar/2.jpg 0"}));
  write("x0.tar", pair(""));
  write("x1.tar", pair(R"(,"split":"val")"));
  EXPECT_NE(thrown_text([&] { open("x{0..1}.tar"); }).find("2 of 4 pictures have a split"),
            std::string::npos);
  write("x1.tar", pair(R"(,"split":"later")"));
  EXPECT_THROW(open("x1.tar"), DataError);
}

TEST_F(TarSource, TarsOfSeveralSplitsAreNamedTogether) {
  const Files pair = {{"1.jpg", "1"}, {"1.cls", "fake"}, {"2.jpg", "2"}, {"2.cls", "real"}};
  for (const char* name : {"x/train-000.tar", "x/train-001.tar", "x/valid-000.tar"})
    write(name, pair);
  const auto counts = [](const DataSource& source) {
    std::vector<std::string> all;
    for (const Dataset& d : source.splits)
      all.push_back(d.split + " " + std::to_string(d.samples.size()));
    return all;
  };
  const std::vector<std::string> both = {"train 2", "valid 2"};
  EXPECT_EQ(counts(open("x/{train,valid}-000.tar")), both);
  EXPECT_EQ(counts(open("x/{train-000.tar,valid-000.tar}")), both);
  write("x/._train-000.tar", {});
  dir_.write("x/notes.txt", "x");
  const DataSource folder = open("x");
  EXPECT_EQ(counts(folder), (std::vector<std::string>{"train 4", "valid 2"}));
  EXPECT_EQ(folder.splits[0].root, dir_.path() / "x");
  EXPECT_EQ(folder.splits[1].samples[0].relative, "valid-000.tar/1.jpg");
  options_.path_column = "p";
  EXPECT_NE(thrown_text([&] { open("x"); }).find("leave out --path-column"), std::string::npos);
  dir_.write("x/loose.jpg", "x");
  EXPECT_NE(thrown_text([&] { open("x"); }).find("nor tars alone"), std::string::npos);
}

TEST_F(TarSource, SaysWhatIsMissing) {
  write("a.tar", {{"1.jpg", "1"}, {"1.cls", "fake"}, {"2.jpg", "2"}});
  EXPECT_NE(thrown_text([&] { open("a.tar", {"all"}); }).find("1 of 2 pictures have no class"),
            std::string::npos);
  write("a.tar", {{"1.jpg", "1"}, {"1.json", "[1]"}});
  EXPECT_NE(thrown_text([&] { open("a.tar", {"all"}); }).find("1.json: no JSON object"),
            std::string::npos);
  write("a.tar", {{"1.txt", "1"}});
  EXPECT_NE(thrown_text([&] { open("a.tar", {"all"}); }).find("no pictures"), std::string::npos);
  EXPECT_THROW(open("a{0..3}.tar", {"all"}), DataError);
  options_.group_column = "maker";
  EXPECT_THROW(open("a.tar", {"all"}), UsageError);
}

TEST_F(TarSource, NotesThatContradictEachOtherAreRefused) {
  const auto said = [&](const std::string& cls, const std::string& json) {
    write("a.tar",
          {{"1.jpg", "1"}, {"1.cls", cls}, {"1.json", json}, {"2.jpg", "2"}, {"2.cls", "real"}});
    return thrown_text([&] { open("a.tar", {"all"}); });
  };
  EXPECT_EQ(said("fake", R"({"label": "Fake"})"), "(nothing thrown)");
  EXPECT_EQ(said("fake", R"({"label": "Anna", "class": 7})"), "(nothing thrown)");
  EXPECT_NE(said("fake", R"({"label": "real"})")
                .find("1.json: the .cls of this picture says "
                      "'fake', its .json 'real'"),
            std::string::npos);
  EXPECT_NE(said("1", R"({"label": 0})").find("its .json '0'"), std::string::npos);
  EXPECT_NE(said("1", R"({"label": false})").find("its .json 'false'"), std::string::npos);
}

TEST_F(TarSource, TheLastNoteOfANameCounts) {
  write("a.tar", {{"1.jpg", "1"},
                  {"1.cls", "fake"},
                  {"2.jpg", "2"},
                  {"2.cls", "fake"},
                  {"2.jpg", "3"},
                  {"2.cls", "real"}});
  EXPECT_EQ(listing(open("a.tar", {"all"}).splits[0]),
            (std::vector<std::string>{"a.tar/1.jpg 1", "a.tar/2.jpg 0"}));
}

TEST_F(TarSource, LeftoversArePassedOverAndCounted) {
  write("a.tar", {{"1.jpg", "1"},
                  {"1.cls", "fake"},
                  {"._1.jpg", "x"},
                  {"._1.json", "no JSON"},
                  {"2.jpg", "2"},
                  {"2.cls", "real"},
                  {"__MACOSX/3.jpg", "x"}});
  const DataSource source = open("a.tar", {"all"});
  EXPECT_EQ(source.splits[0].samples.size(), 2u);
  EXPECT_EQ(source.passed_over, (PassedOver{{"._*", 2}, {"__MACOSX/", 1}}));
}

TEST_F(TarSource, NestedNotesAreNoText) {
  const std::string deep(200000, '[');
  const std::string json = R"({"x": "y", "label":)" + deep + std::string(deep.size(), ']') + "}";
  write("a.tar", {{"1.jpg", "1"}, {"1.json", json}});
  EXPECT_NE(thrown_text([&] { open("a.tar", {"all"}); }).find("1 of 1 pictures have no class"),
            std::string::npos);
}

TEST_F(TarSource, CopiesInDifferentTarsShareASplit) {
  for (int t = 0; t < 2; ++t) {
    Files files;
    for (int i = 0; i < 20; ++i) {
      files.emplace_back(fmt::format("{}.jpg", i), "picture " + std::to_string(i));
      files.emplace_back(fmt::format("{}.cls", i), i % 2 == 0 ? "real" : "fake");
    }
    write(fmt::format("{}.tar", t), files);
  }
  options_.fractions = {0.5, 0.5};
  const DataSource source = open("{0..1}.tar", {"train", "valid"});
  std::set<std::string> names;
  for (const Sample& s : source.splits[0].samples)
    names.insert(std::filesystem::path(s.relative).filename().string());
  for (const Sample& s : source.splits[1].samples)
    EXPECT_FALSE(names.contains(std::filesystem::path(s.relative).filename().string()));
  EXPECT_TRUE(source.splits[0].tars);
}

TEST_F(TarSource, TarsAreShuffledAndThenTheNextPictures) {
  constexpr std::size_t kTars = 5, kEach = 3000;
  Dataset data;
  std::vector<TarFile> files;
  for (std::size_t t = 0; t < kTars; ++t) {
    write(fmt::format("{}.tar", t), {{"1.jpg", "1"}});
    files.emplace_back(dir_.path() / fmt::format("{}.tar", t));
    for (std::size_t i = 0; i < kEach; ++i)
      data.samples.push_back({.relative = "", .record = TarShards::record(t, i)});
  }
  data.tars = std::make_shared<const TarShards>(std::move(files));
  std::vector<std::uint32_t> in_order(kTars * kEach);
  std::iota(in_order.begin(), in_order.end(), 0u);
  EXPECT_EQ(epoch_order(data, 1, 0, false), in_order);
  const auto order = epoch_order(data, 1, 0, true);
  EXPECT_EQ(epoch_order(data, 1, 0, true), order);
  EXPECT_NE(epoch_order(data, 1, 1, true), order);
  EXPECT_NE(epoch_order(data, 2, 0, true), order);
  auto sorted = order;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted, in_order);
  // Nothing comes earlier than the buffer lets it.
  std::vector<std::size_t> first_seen;
  for (const std::uint32_t i : order)
    if (std::ranges::find(first_seen, i / kEach) == first_seen.end())
      first_seen.push_back(i / kEach);
  ASSERT_EQ(first_seen.size(), kTars);
  std::vector<std::size_t> place(kTars);
  for (std::size_t p = 0; p < kTars; ++p) place[first_seen[p]] = p;
  for (std::size_t at = 0; at < order.size(); ++at)
    EXPECT_LE(place[order[at] / kEach] * kEach, at + kShuffleBuffer);
}

TEST_F(TarSource, PicturesAreTakenByTheirFirstBytesToo) {
  write("a.tar", {{"1.img", "\xFF\xD8\xFF"},
                  {"1.cls", "fake"},
                  {"2.gif", "GIF89a"},
                  {"2.cls", "real"},
                  {"2.txt", "a caption"}});
  const DataSource source = open("a.tar", {"all"});
  EXPECT_EQ(listing(source.splits[0]),
            (std::vector<std::string>{"a.tar/1.img 1", "a.tar/2.gif 0"}));
  EXPECT_EQ(source.passed_over, (PassedOver{{".txt", 1}}));
}

}  // namespace
}  // namespace dfengine
