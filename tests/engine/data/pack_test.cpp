// Packed files: contents, resuming, changed sources, damage.
#include "engine/data/pack.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/data/digest.h"
#include "engine/data/loader.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;

constexpr Index kSize = 12;
constexpr auto kAlways = [](Index, Index) { return true; };

class PackTest : public testing::Test {
 protected:
  PackTest() : pool_(2), file_(dir_.path() / "set.dfpack") {
    how_.size = kSize;
    for (const char* name : {"train", "valid"}) {
      Dataset split{dir_.path(), name, {}};
      for (Index i = 0; i < 9; ++i) {
        const std::string relative = fmt::format("{}/a, \"{}\"\n.bmp", name, i);
        dir_.write_bmp(relative, test::pattern(10 + i, 20 - i, 7 * i + std::ssize(splits_)));
        split.samples.push_back({relative, i % 2 == 0 ? 1 : 0});
      }
      splits_.push_back(split);
    }
  }

  PackResult write(const std::function<bool(Index, Index)>& go_on = kAlways) {
    return write_pack(file_, splits_, how_, pool_, go_on);
  }

  std::string bytes() const {
    std::ifstream stream(file_, std::ios::binary);
    return {(std::istreambuf_iterator<char>(stream)), {}};
  }

  TempDir dir_;
  ThreadPool pool_;
  std::filesystem::path file_;
  Preparation how_;
  std::vector<Dataset> splits_;
};

TEST_F(PackTest, HoldsEveryPreparedPicture) {
  const PackResult result = write();
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.records, 18);
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(std::filesystem::file_size(file_), pack_file_bytes(splits_, how_));
  EXPECT_FALSE(std::filesystem::exists(file_.string() + ".part"));
  const auto splits = open_pack(file_, {"val", "train"});
  Preparer preparer(how_);
  std::vector<std::uint8_t> expected(kSize * kSize * 3), found = expected;
  for (std::size_t s = 0; s < 2; ++s) {
    const Dataset& source = splits_[1 - s];
    EXPECT_EQ(splits[s].split, source.split);
    ASSERT_EQ(splits[s].samples.size(), source.samples.size());
    for (std::size_t i = 0; i < source.samples.size(); ++i) {
      EXPECT_EQ(splits[s].samples[i].relative, source.samples[i].relative);
      EXPECT_EQ(splits[s].samples[i].label, source.samples[i].label);
      preparer.prepare(source.path(source.samples[i]), expected.data());
      splits[s].pack->read(splits[s].samples[i].record, found.data());
      EXPECT_EQ(found, expected);
    }
  }
}

TEST_F(PackTest, LoaderReadsItAsItReadsTheFiles) {
  write();
  const Dataset packed = open_pack(file_, {"train"})[0];
  LoaderOptions options{how_};
  options.augment = {.hflip = true, .jpeg_prob = 1};
  options.shuffle = true;
  options.batch = 4;
  Loader files(splits_[0], options), pack(packed, options);
  Batch a, b;
  files.start(2);
  pack.start(2);
  while (files.next(a)) {
    ASSERT_TRUE(pack.next(b));
    EXPECT_EQ(a.images, b.images);
    EXPECT_EQ(a.targets, b.targets);
  }
  EXPECT_FALSE(pack.next(b));
  options.size = kSize + 1;
  EXPECT_NE(thrown_text([&] { Loader(packed, options); }).find("--img-size 13"), std::string::npos);
}

TEST_F(PackTest, GoesOnWhereItStopped) {
  how_.size = 2;
  for (int i = 0; i < 80; ++i) splits_[0].samples.push_back(splits_[0].samples[1]);
  write();
  const std::string whole = bytes();
  std::filesystem::remove(file_);
  const PackResult stopped = write([](Index, Index) { return false; });
  EXPECT_FALSE(stopped.finished);
  EXPECT_FALSE(std::filesystem::exists(file_));
  const PackResult resumed = write();
  EXPECT_TRUE(resumed.finished);
  EXPECT_EQ(resumed.resumed, 64);
  EXPECT_EQ(bytes(), whole);
  // A damaged record and all after it are made again.
  std::filesystem::remove(file_);
  write([](Index, Index) { return false; });
  std::fstream part(file_.string() + ".part", std::ios::in | std::ios::out | std::ios::binary);
  part.seekp(static_cast<std::streamoff>(std::filesystem::file_size(file_.string() + ".part")) -
             3 * 28 + 1);
  part.put('!');
  part.close();
  EXPECT_EQ(write().resumed, 61);
  EXPECT_EQ(bytes(), whole);
  // Another preparation begins anew.
  std::filesystem::remove(file_);
  write([](Index, Index) { return false; });
  how_.resize = ResizeRule::Bicubic;
  EXPECT_EQ(write().resumed, 0);
  EXPECT_NE(bytes(), whole);
}

TEST_F(PackTest, BadPicturesKeepTheirReason) {
  dir_.write(splits_[0].samples[3].relative, "broken");
  std::filesystem::remove(splits_[1].path(splits_[1].samples[8]));
  dir_.write(splits_[1].samples[8].relative, "");
  const PackResult result = write();
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.bad, (std::vector<Index>{3, 17}));
  const auto splits = open_pack(file_, {});
  ASSERT_EQ(splits.size(), 2u);
  const Pack& pack = *splits[0].pack;
  EXPECT_EQ(pack.bad(), result.bad);
  std::vector<std::uint8_t> out(kSize * kSize * 3);
  const auto reason = [&](Index record) {
    return thrown_text([&] { pack.read(record, out.data()); });
  };
  EXPECT_NE(reason(3).find("not a JPEG, PNG, WebP or BMP"), std::string::npos) << reason(3);
  EXPECT_NE(reason(17).find("the file is empty"), std::string::npos) << reason(17);
  EXPECT_EQ(reason(4), "(nothing thrown)");
}

TEST_F(PackTest, TheDigestKnowsAChangedSource) {
  write();
  const std::string digest = Pack(file_).index().digest;
  EXPECT_EQ(source_digest(splits_), digest);
  const auto path = splits_[0].path(splits_[0].samples[0]);
  std::filesystem::last_write_time(
      path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  EXPECT_NE(source_digest(splits_), digest);
  splits_[0].samples.pop_back();
  EXPECT_NE(source_digest(splits_), digest);
  const std::string without = source_digest(splits_);
  splits_[0].samples.push_back({"absent.png", 0});
  const std::string absent = source_digest(splits_);
  EXPECT_NE(absent, without);
  dir_.write("absent.png", "there now");
  EXPECT_NE(source_digest(splits_), absent);
}

TEST_F(PackTest, DamageIsFound) {
  write();
  const std::string whole = bytes();
  std::vector<std::uint8_t> out(kSize * kSize * 3);
  // Every byte of header and index, one bit each: an error, or what it says is what was written.
  const std::size_t index_end = 32 + write_index({how_, std::string(64, 'x'), splits_}).size();
  for (std::size_t at = 0; at < index_end; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    dir_.write("damaged.dfpack", damaged);
    EXPECT_THROW(Pack(dir_.path() / "damaged.dfpack"), DataError) << at;
  }
  for (std::size_t n : {0u, 7u, 31u, 100u, 4096u, 4097u}) {
    dir_.write("cut.dfpack", whole.substr(0, n));
    EXPECT_THROW(Pack(dir_.path() / "cut.dfpack"), DataError) << n;
  }
  std::string damaged = whole;
  damaged[4096 + 5 * (kSize * kSize * 3 + 16) + 17] ^= 1;
  const Pack pack(dir_.write("pixel.dfpack", damaged));
  pack.read(4, out.data());
  EXPECT_NE(thrown_text([&] { pack.read(5, out.data()); }).find("record 5 is damaged"),
            std::string::npos);
}

// The word behind the checksum that says whether there is a picture.
TEST_F(PackTest, DamageToARecordsStateIsFound) {
  dir_.write(splits_[0].samples[3].relative, "broken");
  write();
  const std::string whole = bytes();
  const std::size_t record = kSize * kSize * 3 + 16;
  std::vector<std::uint8_t> out(kSize * kSize * 3);
  for (const std::size_t i : {std::size_t{3}, std::size_t{4}}) {
    for (std::size_t bit = 0; bit < 64; ++bit) {
      std::string damaged = whole;
      char& byte = damaged[4096 + (i + 1) * record - 8 + bit / 8];
      byte = static_cast<char>(byte ^ 1 << bit % 8);
      const Pack pack(dir_.write("state.dfpack", damaged));
      EXPECT_NE(thrown_text([&] {
                  pack.read(static_cast<Index>(i), out.data());
                }).find("is damaged (checksum)"),
                std::string::npos)
          << i << " " << bit;
    }
  }
}

// A power cut leaves zeros where a record's last bytes were not written.
TEST_F(PackTest, ARecordWithoutItsStateIsMadeAgain) {
  how_.size = 2;
  for (int i = 0; i < 80; ++i) splits_[0].samples.push_back(splits_[0].samples[1]);
  write();
  const std::string whole = bytes();
  std::filesystem::remove(file_);
  write([](Index, Index) { return false; });
  const std::filesystem::path part = file_.string() + ".part";
  const auto size = std::filesystem::file_size(part);
  std::filesystem::resize_file(part, size - 8);
  std::filesystem::resize_file(part, size);
  EXPECT_EQ(write().resumed, 63);
  EXPECT_EQ(bytes(), whole);
}

// As a mapping the file would end the process.
TEST_F(PackTest, CutWhileItIsReadIsAnError) {
  write();
  const Pack pack(file_);
  std::vector<std::uint8_t> out(kSize * kSize * 3);
  pack.read(17, out.data());
  std::filesystem::resize_file(file_, 4096 + 3 * (kSize * kSize * 3 + 16));
  pack.read(2, out.data());
  EXPECT_NE(thrown_text([&] { pack.read(3, out.data()); }).find("cut short"), std::string::npos);
}

TEST_F(PackTest, APlantedPartIsNotWrittenTo) {
  const auto victim = dir_.write("victim", "precious");
  std::filesystem::create_symlink(victim, file_.string() + ".part");
  EXPECT_NE(thrown_text([&] { write(); }).find("link"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(victim), 8u);
}

TEST_F(PackTest, ADamagedPictureIsNotTriedAgainAndAnAbsentOneIs) {
  dir_.write(splits_[0].samples[3].relative, "broken");
  const auto absent = splits_[1].path(splits_[1].samples[8]);
  std::filesystem::remove(absent);
  EXPECT_EQ(write().bad, (std::vector<Index>{3, 17}));
  const Pack pack(file_);
  EXPECT_FALSE(pack.is_unread(3));
  EXPECT_TRUE(pack.is_unread(17));
  EXPECT_FALSE(can_be_completed(pack, splits_));
  // Nothing is decoded again but the absent one.
  EXPECT_EQ(write().resumed, 17);
  dir_.write(splits_[1].samples[8].relative, "there now");
  EXPECT_TRUE(can_be_completed(pack, splits_));
}

// What a cast would make another number of, or of which it says nothing.
TEST_F(PackTest, NumbersOfTheIndexAreIntegers) {
  const std::string sound = write_index({how_, "digest", splits_});
  EXPECT_EQ(read_index(sound, "f").how.size, kSize);
  for (const char* number : {"1e42", "-1e42", "12.5", "true", "18446744073709551615", "null"}) {
    for (const char* key : {"size", "max_pixels", "splits"}) {
      std::string text = sound;
      const std::string name = fmt::format("\"{}\":", key);
      const std::size_t at = text.find(name) + name.size();
      text.replace(at, text.find_first_of(",}", at) - at, number);
      EXPECT_THROW(read_index(text, "f"), DataError) << key << " " << number;
    }
  }
}

TEST_F(PackTest, AllIsEverySplitByPath) {
  write();
  const Dataset all = open_pack(file_, {"all"}).at(0);
  EXPECT_EQ(all.split, "all");
  ASSERT_EQ(all.samples.size(), 18u);
  EXPECT_TRUE(std::ranges::is_sorted(all.samples, {}, &Sample::relative));
  const Dataset valid = open_pack(file_, {"valid"}).at(0);
  EXPECT_EQ(all.samples.back().relative, valid.samples.back().relative);
  EXPECT_EQ(all.samples.back().record, valid.samples.back().record);
  splits_ = {all};
  splits_[0].pack = nullptr;
  splits_[0].root = dir_.path();
  std::filesystem::remove(file_);
  write();  // of a set without splits, which then has this very split
  EXPECT_EQ(open_pack(file_, {"all"}).at(0).samples.size(), 18u);
}

TEST_F(PackTest, OptionsThatSayWhatThePackSaysAreRefused) {
  write();
  DataOptions pack;
  pack.data = file_;
  pack.seed = 3;
  EXPECT_EQ(open_data(pack, {"all"}).splits.size(), 1u);
  const auto refused = [&](const char* flag, auto place, auto value) {
    DataOptions o = pack;
    o.*place = value;
    const std::string what = thrown_text([&] { open_data(o, {"train"}); });
    EXPECT_NE(what.find(std::string("leave out ") + flag), std::string::npos) << what;
  };
  refused("--csv", &DataOptions::csv, "t.csv");
  refused("--valid-csv", &DataOptions::valid_csv, "t.csv");
  refused("--test-csv", &DataOptions::test_csv, "t.csv");
  refused("--classes", &DataOptions::classes, "a,b");
  refused("--label-positive", &DataOptions::label_positive, "real");
  refused("--fractions", &DataOptions::fractions, std::vector<double>{.9, .1});
  refused("--path-column", &DataOptions::path_column, "p");
  refused("--label-column", &DataOptions::label_column, "l");
  refused("--group-column (eval --by)", &DataOptions::group_column, "nope");
  // A run that was trained from a table goes on with the pack.
  DataOptions moved;
  moved.classes = "a,b";
  moved.csv = "t.csv";
  moved.move_to(file_);
  EXPECT_EQ(open_data(moved, {"all"}).splits.size(), 1u);
}

TEST_F(PackTest, Refusals) {
  write();
  EXPECT_NE(thrown_text([&] { open_pack(file_, {"test"}); }).find("train valid"),
            std::string::npos);
  EXPECT_THROW(Pack(dir_.path() / "absent.dfpack"), DataError);
  EXPECT_THROW(Pack(dir_.path()), DataError);
  EXPECT_THROW(write_pack(file_, open_pack(file_, {}), how_, pool_, kAlways), UsageError);
  EXPECT_TRUE(is_pack("a/b.dfpack"));
  EXPECT_FALSE(is_pack("a.dfpack/b"));
}

}  // namespace
}  // namespace dfengine
