// Tars: what Python's tarfile wrote, damage, names with braces, and pictures read out of them.
#include "engine/data/tar.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/data/loader.h"
#include "engine/data/sets/inputs.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/data/tar_writer.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;

std::string content(const TarFile& tar, std::size_t entry) {
  std::vector<std::byte> bytes;
  tar.read(entry, bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Tar, ReadsWhatPythonWrote) {
  std::string first;
  for (int i = 0; i < 100; ++i) first += "first ";
  for (const std::string form : {"ustar", "pax", "gnu"}) {
    const TarFile tar(test::golden_folder() / ("tar_" + form + ".tar"));
    std::vector<std::pair<std::string, std::string>> expected = {
        {"faces/000.jpg", first},
        {"faces/000.cls", "1"},
        {std::string(90, 'l') + "/" + std::string(60, 'm') + ".jpg", "long"},
        {"empty.png", ""},
        {"again.jpg", first}};
    if (form != "ustar") expected.emplace_back(std::string(300, 'n') + ".jpg", "longer");
    expected.emplace_back("\xc3\xbc \xe6\xbc\xa2.jpg", "last");
    ASSERT_EQ(tar.entries().size(), expected.size()) << form;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(tar.entries()[i].name, expected[i].first) << form;
      EXPECT_EQ(content(tar, i), expected[i].second) << form << " " << expected[i].first;
    }
  }
}

TEST(Tar, SaysWhatIsWrongWithAFile) {
  const TempDir dir;
  const std::filesystem::path file = dir.path() / "bad.tar";
  std::ifstream stream(test::golden_folder() / "tar_pax.tar", std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  const auto said = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    return thrown_text([&] { TarFile tar(file); });
  };
  EXPECT_NE(said("").find("bad.tar"), std::string::npos);
  EXPECT_NE(said(std::string(2000, 'x')).find("no tar from byte 0"), std::string::npos);
  EXPECT_NE(said("\x1f\x8b\x08" + std::string(600, 'z')).find("must be unpacked"),
            std::string::npos);
  EXPECT_NE(said(test::tar_of({{"a.jpg", "content"}}).substr(0, 515)).find("cut short"),
            std::string::npos);
  std::string lies = test::tar_of({{"a.jpg", "content"}});
  test::set_tar_size(lies, 0, std::uint64_t{1} << 32);
  EXPECT_NE(said(lies).find("cut short"), std::string::npos);
  EXPECT_THROW(TarFile(dir.path() / "absent.tar"), DataError);
  // At the end of an entry, in the empty blocks that end a tar, and with a second tar behind them.
  const std::string one = test::tar_of({{"a.jpg", "content"}}), two = test::tar_of({{"b.jpg", ""}});
  EXPECT_NE(said(one.substr(0, 1024)).find("cut short: it ends at byte 1024"), std::string::npos);
  EXPECT_NE(said(one.substr(0, 1100)), "(nothing thrown)");
  EXPECT_EQ(said(one.substr(0, 1536)), "(nothing thrown)") << "one empty block";
  EXPECT_EQ(said(one + std::string(100000, '\0')), "(nothing thrown)");
  EXPECT_NE(said(one + two).find("more data at byte 2048, behind the empty block at byte 1024"),
            std::string::npos);
  EXPECT_NE(said(one + std::string(90000, '\0') + "x").find("more data at byte 92048"),
            std::string::npos);
  // No damage of a byte in the headers does more than an error or other names.
  for (std::size_t at = 0; at < good.size(); at += 7) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    std::ofstream(file, std::ios::binary) << damaged;
    try {
      const TarFile tar(file);
      for (std::size_t i = 0; i < tar.entries().size(); ++i) content(tar, i);
    } catch (const DataError&) {
    }
  }
}

TEST(Tar, AFileOfAnotherKindDoesNotWait) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo((dir.path() / "pipe.tar").c_str(), 0600), 0);
  EXPECT_NE(thrown_text([&] { TarFile(dir.path() / "pipe.tar"); }).find("not a file"),
            std::string::npos);
}

// As unpacking does it.
TEST(Tar, TheLastEntryOfANameCounts) {
  const TempDir dir;
  const auto file = dir.write("a.tar", test::tar_of({{"a.jpg", "old"},
                                                     {"b.jpg", "b"},
                                                     {"./a.jpg", "new"},
                                                     {"c.jpg", "c"},
                                                     {"b.jpg", "newer"}}));
  const TarFile tar(file);
  std::string all;
  for (std::size_t i = 0; i < tar.entries().size(); ++i)
    all += tar.entries()[i].name + " " + content(tar, i) + "\n";
  EXPECT_EQ(all, "./a.jpg new\nc.jpg c\nb.jpg newer\n");
}

TEST(Tar, BracesStandForNames) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(expand_braces("a/{008..011}.tar"),
            (Names{"a/008.tar", "a/009.tar", "a/010.tar", "a/011.tar"}));
  EXPECT_EQ(expand_braces("{0..1}-{5..6}"), (Names{"0-5", "0-6", "1-5", "1-6"}));
  EXPECT_EQ(expand_braces("{x}{2..2}"), (Names{"{x}2"}));
  EXPECT_EQ(expand_braces("x/{train,valid}-{08..09}.tar"),
            (Names{"x/train-08.tar", "x/train-09.tar", "x/valid-08.tar", "x/valid-09.tar"}));
  EXPECT_EQ(expand_braces("{a,b{1..2},}.tar"), (Names{"a.tar", "b1.tar", "b2.tar", ".tar"}));
  EXPECT_EQ(expand_braces("{x{a,b}}"), (Names{"{xa}", "{xb}"}));
  for (const char* plain : {"a.tar", "{", "}{", "{1..}", "{a..b}", "{2..1}", "..{1}"})
    EXPECT_EQ(expand_braces(plain), (Names{plain}));
  EXPECT_THROW(expand_braces("{0..99999999}"), UsageError);
  std::string many;
  for (int i = 0; i < 100000; ++i) many += "{1..1}";
  EXPECT_EQ(expand_braces(many), (Names{many}));
  EXPECT_THROW(expand_braces("{0..9999}{0..9999}"), UsageError);
  EXPECT_THROW(expand_braces("{{0..999999},{0..999999}}"), UsageError);
}

TEST(Inputs, ATarsPicturesAreThoseOfTheFiles) {
  TempDir dir;
  std::vector<std::pair<std::string, std::string>> entries;
  Dataset files{dir.path(), "all", {}};
  for (Index i = 0; i < 5; ++i) {
    const std::string name = fmt::format("{}.bmp", i);
    dir.write_bmp(name, test::pattern(9 + i, 14, i));
    std::ifstream stream(dir.path() / name, std::ios::binary);
    entries.emplace_back("/deep/" + name, std::string{std::istreambuf_iterator<char>(stream), {}});
    entries.emplace_back("/deep/" + name + ".json", "{}");
    files.samples.push_back({name, 0});
  }
  entries[4].second.resize(20);  // a damaged picture
  const std::filesystem::path tar = dir.path() / "0.tar";
  std::ofstream(tar, std::ios::binary) << test::tar_of(entries);
  const Dataset inside = open_shard({.container = tar});
  ASSERT_EQ(inside.samples.size(), 5u);
  EXPECT_EQ(inside.samples[1].relative, tar.string() + "//deep/1.bmp");
  LoaderOptions options = one_pass({.size = 12}, 2, OnBad::Skip);
  Loader a(files, options), b(inside, options);
  Batch from_files, from_tar;
  a.start(0);
  b.start(0);
  ASSERT_TRUE(a.next(from_files));
  ASSERT_TRUE(b.next(from_tar));
  ASSERT_EQ(from_tar.left_out.size(), 1u);
  EXPECT_EQ(from_tar.left_out[0].index, 2u);
  EXPECT_NE(from_tar.left_out[0].reason.find("0.tar//deep/2.bmp"), std::string::npos);
  constexpr Index kBytes = Index{12} * 12 * 3;
  from_files.images.erase(from_files.images.begin() + 2 * kBytes,
                          from_files.images.begin() + 3 * kBytes);
  EXPECT_EQ(from_tar.images, from_files.images);
}

std::vector<InputShard> all_of(InputReader&& reader) {
  std::vector<InputShard> shards;
  while (auto shard = reader.next()) shards.push_back(std::move(*shard));
  return shards;
}

TEST(Inputs, AListIsTakenUpAPartAtATime) {
  const TempDir dir;
  const std::filesystem::path list = dir.path() / "list";
  {
    std::ofstream stream(list);
    for (int i = 0; i < 25000; ++i) stream << "p" << i << ".jpg\r\n\n";
    stream << "{0..1}.tar\nlast.jpg";
  }
  const std::vector<InputShard> shards = all_of(InputReader(list));
  ASSERT_EQ(shards.size(), 6u);
  for (std::size_t i = 0; i < shards.size(); ++i)
    EXPECT_EQ(shards[i].number, static_cast<Index>(i));
  EXPECT_EQ(shards[1].files.front(), "p10000.jpg");
  EXPECT_EQ(shards[2].files.size(), 5000u);
  EXPECT_EQ(shards[3].container, "0.tar");
  EXPECT_EQ(shards[4].container, "1.tar");
  EXPECT_EQ(shards[5].files, std::vector<std::filesystem::path>{"last.jpg"});
  EXPECT_GT(shards[0].share, 0.3);
  EXPECT_LT(shards[0].share, 0.5);
  EXPECT_EQ(shards[5].share, 1);
  EXPECT_THROW(InputReader(dir.path()), DataError);
  EXPECT_THROW(InputReader(dir.path() / "absent"), DataError);
}

TEST(Inputs, AListMayBeginWithAMarkAndNameFilesWithBraces) {
  const TempDir dir;
  const std::string braces = dir.write("img{1..3}.png", "x").string();
  const auto list = dir.write("list", "\xEF\xBB\xBF" + braces + "\r\nx{1..2}.png\n");
  const std::vector<InputShard> shards = all_of(InputReader(list));
  ASSERT_EQ(shards.size(), 1u);
  EXPECT_EQ(shards[0].files, (std::vector<std::filesystem::path>{braces, "x1.png", "x2.png"}));
}

TEST(Inputs, NamesMayEndInNulBytes) {
  using Paths = std::vector<std::filesystem::path>;
  const TempDir dir;
  const auto files = [&](const std::string& text) {
    return all_of(InputReader(dir.write("list", text))).at(0).files;
  };
  EXPECT_EQ(files(std::string("a.jpg\0b\n.jpg\0", 13)), (Paths{"a.jpg", "b\n.jpg"}));
  EXPECT_EQ(files(std::string("a\n.jpg\0\0b.jpg\r", 14)), (Paths{"a\n.jpg", "b.jpg\r"}));
  // Longer than what is read at once.
  std::string text, expected;
  for (int i = 0; i < 9000; ++i) text += fmt::format("folder/{}.jpg", i) + '\0';
  for (const std::filesystem::path& path : files(text)) expected += path.string() + '\0';
  EXPECT_EQ(text, expected);
  std::ranges::replace(text, '\0', '\n');
  const auto late = thrown_text([&] { files(text + std::string("b.jpg\0", 6)); });
  EXPECT_NE(late.find("a NUL byte in a line"), std::string::npos) << late;
}

TEST(Inputs, APictureIsNoList) {
  const TempDir dir;
  const auto refusal = [&](const std::string& name, const std::string& bytes) {
    return thrown_text([&] { InputReader(dir.write(name, bytes)).next(); });
  };
  EXPECT_NE(refusal("x.jpg", "\xFF\xD8\xFF\xE0 rest").find("x.jpg is a picture: name it without"),
            std::string::npos);
  EXPECT_NE(refusal("x.tar", "a.jpg").find("x.tar holds pictures"), std::string::npos);
  EXPECT_EQ(refusal("BM.txt", "BMW/front of the car.jpg\n"), "(nothing thrown)");
}

TEST(Inputs, AFolderIsWalkedInTheOrderOfItsPaths) {
  const TempDir dir;
  std::vector<std::filesystem::path> expected;
  for (const char* name : {"b/2.jpg", "b/10.jpg", "a.jpg", "b.jpg", "b/a/x.png", "c/.hidden/y.jpg",
                           "c/notes.txt", "._c.jpg", "b-1.jpg"}) {
    std::filesystem::create_directories((dir.path() / name).parent_path());
    std::ofstream(dir.path() / name) << "x";
  }
  std::filesystem::create_directory_symlink(dir.path(), dir.path() / "d");
  const TempDir elsewhere;
  elsewhere.write("deep/l.jpg", "x");
  std::filesystem::create_directory_symlink(elsewhere.path(), dir.path() / "a");
  std::filesystem::create_directory_symlink(elsewhere.path() / "deep", dir.path() / "e");
  for (const char* name : {"a.jpg", "b/10.jpg", "b/2.jpg", "b/a/x.png", "b-1.jpg", "b.jpg"})
    expected.push_back(dir.path() / name);
  std::ranges::sort(expected);
  expected.push_back(dir.path() / "a/deep/l.jpg");  // links come last
  InputReader reader(std::vector<std::filesystem::path>{dir.path(), "absent.jpg"});
  const auto shard = reader.next();
  ASSERT_TRUE(shard);
  expected.push_back("absent.jpg");
  EXPECT_EQ(shard->files, expected);
  EXPECT_FALSE(reader.next());
  EXPECT_EQ(describe(reader.passed_over()),
            "passed over: 1 ._*, 1 .txt, 1 hidden/, 2 links to folders listed already");
}

TEST(Inputs, AFolderThatCannotBeListedIsOneAnswer) {
  const TempDir dir;
  for (const char* name : {"a/1.jpg", "b/2.jpg", "c/3.jpg"}) dir.write(name, "x");
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(dir.path() / "b", std::filesystem::perms::none);
  // Root may list anything.
  const uid_t user = ::geteuid(), nobody = 65534;
  if (user == 0) {
    ASSERT_EQ(::seteuid(nobody), 0);
  }
  std::vector<InputShard> shards =
      all_of(InputReader(std::vector<std::filesystem::path>{dir.path(), dir.path() / "b"}));
  if (user == 0) {
    ASSERT_EQ(::seteuid(user), 0);
  }
  std::filesystem::permissions(dir.path() / "b", std::filesystem::perms(0700));
  ASSERT_EQ(shards.size(), 1u);
  EXPECT_EQ(shards[0].files,
            (std::vector<std::filesystem::path>{dir.path() / "a/1.jpg", dir.path() / "b",
                                                dir.path() / "c/3.jpg", dir.path() / "b"}));
}

TEST(Inputs, LeftoversInATarArePassedOverAndCounted) {
  const TempDir dir;
  const auto tar = dir.write("a.tar", test::tar_of({{"./1.png", "x"},
                                                    {"._1.png", "x"},
                                                    {"__MACOSX/2.png", "x"},
                                                    {"../3.png", "x"},
                                                    {"d/.hidden/4.png", "x"}}));
  InputReader reader(std::vector<std::filesystem::path>{tar});
  const Dataset inside = open_shard(*reader.next());
  ASSERT_EQ(inside.samples.size(), 2u);
  EXPECT_EQ(inside.samples[1].relative, tar.string() + "/../3.png");
  EXPECT_EQ(describe(reader.passed_over()), "passed over: 1 ._*, 1 __MACOSX/, 1 hidden/");
}

TEST(Inputs, ATarsEntriesArePicturesAsTheFilesOfAFolderAre) {
  const TempDir dir;
  std::string bytes = test::tar_of({{"link.jpg", ""},
                                    {"a.JPG", "x"},
                                    {"a.cls", "real"},
                                    {"a.json", "{}"},
                                    {"b", "\xFF\xD8\xFF"},
                                    {"c.jpg_large", "\xFF\xD8\xFF"},
                                    {"d.gif", "GIF89a"},
                                    {"e.dat", "data"},
                                    {"f", ""},
                                    {"g.txt", "text"}});
  bytes[156] = '2';  // the first entry is a symbolic link
  bytes.replace(157, 5, "a.JPG");
  test::set_tar_size(bytes, 0, 0);
  const auto tar = dir.write("a.tar", bytes);
  InputReader reader(std::vector<std::filesystem::path>{tar});
  std::vector<std::string> names;
  for (const Sample& s : open_shard(*reader.next()).samples) names.push_back(s.relative);
  std::vector<std::string> expected;
  for (const char* name : {"/a.JPG", "/b", "/c.jpg_large", "/d.gif"})
    expected.push_back(tar.string() + name);
  EXPECT_EQ(names, expected);
  EXPECT_EQ(describe(reader.passed_over()),
            "passed over: 1 .dat, 1 .txt, 1 links and devices, 1 without an ending");
}

}  // namespace
}  // namespace dfengine
