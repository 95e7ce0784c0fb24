// Dividing a set: shares, groups, copies, and independence of order.
#include "engine/data/sets/split.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "engine/data/sets/source.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::TempDir;

constexpr double kShares[] = {.8, .1, .1};

std::vector<Sample> pictures(int real, int fake) {
  std::vector<Sample> all;
  for (int i = 0; i < real + fake; ++i) all.push_back({fmt::format("p{}.jpg", i), i >= real});
  return all;
}

std::vector<std::uint32_t> no_copies(std::size_t n) {
  std::vector<std::uint32_t> first(n);
  std::iota(first.begin(), first.end(), 0u);
  return first;
}

TEST(SplitSamples, SharesHoldInEachClass) {
  const std::vector<Sample> all = pictures(1000, 250);
  const auto part = split_samples(all, {}, no_copies(all.size()), kShares, 4);
  std::map<std::pair<int, int>, int> count;
  for (std::size_t i = 0; i < all.size(); ++i) ++count[{part[i], all[i].label}];
  EXPECT_EQ((std::vector<int>{count[{0, 0}], count[{1, 0}], count[{2, 0}]}),
            (std::vector<int>{800, 100, 100}));
  EXPECT_EQ((std::vector<int>{count[{0, 1}], count[{1, 1}], count[{2, 1}]}),
            (std::vector<int>{200, 25, 25}));
}

TEST(SplitSamples, DependsOnSeedAndPathsNotOnOrder) {
  std::vector<Sample> all = pictures(60, 60);
  std::map<std::string, int> by_path;
  const auto part = split_samples(all, {}, no_copies(all.size()), kShares, 4);
  for (std::size_t i = 0; i < all.size(); ++i) by_path[all[i].relative] = part[i];
  std::reverse(all.begin(), all.end());
  const auto reversed = split_samples(all, {}, no_copies(all.size()), kShares, 4);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(reversed[i], by_path[all[i].relative]);
  EXPECT_NE(split_samples(all, {}, no_copies(all.size()), kShares, 5), reversed);
}

// Over many seeds each picture is in the test part as often as its share says.
TEST(SplitSamples, EveryPictureIsAsLikelyAsAnother) {
  constexpr int kSeeds = 2000;
  const std::vector<Sample> all = pictures(10, 10);
  std::vector<int> tested(all.size());
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto part = split_samples(all, {}, no_copies(all.size()), kShares, seed);
    for (std::size_t i = 0; i < all.size(); ++i) tested[i] += part[i] == 2;
  }
  for (int count : tested) EXPECT_NEAR(count, kSeeds / 10, test::count_tolerance(kSeeds, .1));
}

TEST(SplitSamples, GroupsAndCopiesStayTogether) {
  const std::vector<Sample> all = pictures(300, 300);
  std::vector<std::string> groups;
  for (std::size_t i = 0; i < all.size(); ++i)
    groups.push_back(i % 3 == 0 ? "" : fmt::format("person {}", i % 40));
  std::vector<std::uint32_t> copies = no_copies(all.size());
  for (std::uint32_t i = 0; i < 50; ++i) copies[i + 550] = i;  // real and fake, across groups
  const auto part = split_samples(all, groups, copies, kShares, 1);
  std::map<std::string, std::set<int>> parts_of_group;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(part[i], part[copies[i]]);
    if (!groups[i].empty()) parts_of_group[groups[i]].insert(part[i]);
  }
  for (const auto& [group, parts] : parts_of_group) EXPECT_EQ(parts.size(), 1u) << group;
  // A part without a share stays empty.
  constexpr double kNoTrain[] = {0, 1, 1};
  for (auto p : split_samples(all, groups, copies, kNoTrain, 1)) EXPECT_NE(p, 0);
}

TEST(FirstCopies, ByContentWhateverNameAndThreads) {
  const TempDir dir;
  const std::vector<std::string> files = {"a", "b", "sub/c", "d", "empty", "empty2", "absent"};
  dir.write("a", "same bytes");
  dir.write("b", "other text");  // of the same length
  dir.write("sub/c", "same bytes");
  dir.write("d", "longer than the others");
  dir.write("empty", "");
  dir.write("empty2", "");
  for (int threads : {1, 4}) {
    const auto first = first_copies(
        files.size(), [&](std::size_t i) { return dir.path() / files[i]; }, threads);
    EXPECT_EQ(first, (std::vector<std::uint32_t>{0, 1, 0, 3, 4, 5, 6}));
  }
}

TEST(OpenData, DividesAFolderAndATableTheSameWay) {
  const TempDir dir;
  std::string table = "path,label,person\n";
  for (int i = 0; i < 40; ++i) {
    const std::string name = fmt::format("{}/{}.png", i % 2 == 0 ? "real" : "fake", i);
    dir.write(name, fmt::format("picture {}", i % 30));  // 10 copies
    table += fmt::format("{},{},p{}\n", name, i % 2, i % 10);
  }
  DataOptions folder;
  folder.data = dir.path();
  folder.fractions = {.5, .25, .25};
  DataOptions rows = folder;
  rows.csv = dir.write("list.csv", table);
  const DataSource a = open_data(folder, {"train", "valid", "test"});
  const DataSource b = open_data(rows, {"train", "valid", "test"});
  EXPECT_NE(a.layout.find("10 copies"), std::string::npos) << a.layout;
  std::size_t total = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(a.splits[i].samples.size(), b.splits[i].samples.size());
    for (std::size_t k = 0; k < a.splits[i].samples.size(); ++k)
      EXPECT_EQ(a.splits[i].samples[k].relative, b.splits[i].samples[k].relative);
    total += a.splits[i].samples.size();
  }
  EXPECT_EQ(total, 40u);
  rows.group_column = "person";
  const DataSource grouped = open_data(rows, {"train", "test"});
  EXPECT_NE(grouped.layout.find("by person"), std::string::npos);
  folder.group_column = "person";
  EXPECT_THROW(open_data(folder, {"train"}), std::exception);
}

}  // namespace
}  // namespace dfengine
