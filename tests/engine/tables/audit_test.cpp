// The audit: what separates, what does not, and the real set.
#include "engine/tables/audit/audit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "engine/data/pack.h"
#include "engine/data/pictures/file_properties.h"
#include "kernels/base/random.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine::audit {
namespace {

using test::TempDir;

constexpr int kRows = 400;

std::vector<int> labels() {
  std::vector<int> all;
  for (int i = 0; i < kRows; ++i) all.push_back(i % 2);
  return all;
}

template <class Value>
Separation of(Value value) {
  const std::vector<int> label = labels();
  std::vector<decltype(value(0, 0))> values;
  for (int i = 0; i < kRows; ++i) values.push_back(value(i, label[static_cast<std::size_t>(i)]));
  return separate(values, label);
}

std::uint32_t random_word(int i) {
  return philox(3, RandomStream::Init, 0, static_cast<std::uint32_t>(i))[0];
}

TEST(Separation, NumbersFoldedAndAsCategories) {
  EXPECT_EQ(of([](int i, int label) { return label * 1000.0 + i; }).verdict, Verdict::Leak);
  EXPECT_DOUBLE_EQ(of([](int i, int label) { return -1000.0 * label - i % 7; }).auc, 1);
  const Separation between = of([](int i, int label) {
    return label == 1 ? 5.0 : i % 4 < 2 ? 4.0 : 6.0;
  });
  EXPECT_EQ(between.view, "category") << "fakes in the middle: no threshold tells them apart";
  EXPECT_EQ(between.verdict, Verdict::Leak);
  EXPECT_EQ(between.distinct, 3);
  const Separation noise = of([](int i, int) { return static_cast<double>(random_word(i)); });
  EXPECT_EQ(noise.verdict, Verdict::None);
  const Separation weak =
      of([](int i, int label) { return static_cast<double>(random_word(i) % 100) + 40 * label; });
  EXPECT_EQ(weak.verdict, Verdict::Hint);
  EXPECT_EQ(of([](int, int) { return std::nan(""); }).verdict, Verdict::None);
  EXPECT_EQ(of([](int, int label) { return label == 1 ? std::nan("") : 3.0; }).verdict,
            Verdict::Leak);
}

TEST(Separation, IdentifiersThatNeverComeBackTellNothing) {
  const Separation unique = of([](int i, int) { return fmt::format("{:08x}", random_word(i)); });
  EXPECT_EQ(unique.verdict, Verdict::None) << unique.view;
  EXPECT_EQ(unique.distinct, kRows);
}

TEST(Separation, TextsByTheirParts) {
  const std::map<std::string, Separation> cases = {
      {"folder", of([](int i, int label) {
         return fmt::format("{}{}/{:x}.jpg", label == 1 ? 'q' : 'r', i % 3, random_word(i));
       })},
      {"extension", of([](int i, int label) {
         return fmt::format("{:08x}.{}", random_word(i), label == 1 ? "png" : "jpg");
       })},
      {"pattern", of([](int i, int label) {
         return fmt::format(fmt::runtime(label == 1 ? "{}x{}" : "{}{}x"), random_word(i) % 90 + 10,
                            random_word(i + kRows) % 9);
       })},
      {"length",
       of([](int i, int label) { return fmt::format("{:0{}}", random_word(i), 12 + label); })},
  };
  for (const auto& [part, found] : cases) EXPECT_EQ(found.verdict, Verdict::Leak) << part;
}

// Out-of-fold: the same values with shuffled labels must not look informative.
TEST(Separation, ChanceStaysChance) {
  int flagged = 0;
  for (int seed = 0; seed < 50; ++seed) {
    std::vector<int> label;
    std::vector<std::string> values;
    for (int i = 0; i < kRows; ++i) {
      label.push_back(static_cast<int>(random_word(i + seed * kRows) >> 7 & 1));
      values.push_back(fmt::format("group {}", random_word(i) % 60));
    }
    flagged += separate(values, label).verdict != Verdict::None;
  }
  EXPECT_EQ(flagged, 0);
}

TEST(FileProperties, ByTheFirstBytesNotTheName) {
  const TempDir dir;
  const auto images = test::golden_folder() / "images";
  const FileProperties jpeg = read_file_properties(images / "420.jpg");
  EXPECT_EQ(jpeg.format.name, "JPEG");
  EXPECT_EQ(jpeg.w, 23);
  EXPECT_EQ(jpeg.bytes, std::filesystem::file_size(images / "420.jpg"));
  const Image sizes = decode_image(images / "rgb.png");
  const FileProperties png = read_file_properties(images / "rgb.png");
  EXPECT_EQ(png.format.name, "PNG");
  EXPECT_EQ(png.h, sizes.h);
  EXPECT_EQ(png.w, sizes.w);
  for (const char* name : {"lossy.webp", "lossless.webp", "alpha.webp"}) {
    const FileProperties webp = read_file_properties(images / name);
    EXPECT_EQ(webp.format.name, "WebP");
    EXPECT_EQ(webp.h, 11) << name;
    EXPECT_EQ(webp.w, 13) << name;
  }
  const auto bmp = dir.write_bmp("a.jpg", test::pattern(5, 9));
  EXPECT_EQ(read_file_properties(bmp).format.name, "BMP");
  EXPECT_EQ(read_file_properties(bmp).h, 5);
  const FileProperties text = read_file_properties(dir.write("t.jpg", "text"));
  EXPECT_EQ(text.format.name, "");
  EXPECT_EQ(text.error, "");
  EXPECT_FALSE(read_file_properties(dir.write("e.jpg", "")).error.empty());
  EXPECT_FALSE(read_file_properties(dir.path()).error.empty());
  EXPECT_FALSE(read_file_properties(dir.path() / "absent").error.empty());
}

TEST(Audit, CountsCopiesAcrossSplitsAndLabels) {
  const TempDir dir;
  for (const char* split : {"train", "test"})
    for (int i = 0; i < 4; ++i)
      for (const char* c : {"real", "fake"})
        dir.write_bmp(fmt::format("{}/{}/{}.bmp", split, c, i),
                      test::pattern(6, 6,
                                    i + (*c == 'f' ? 100 : 200) +
                                        (*split == 't' && split[1] == 'r' ? 0
                                         : i == 0                         ? 0
                                                                          : 50)));
  dir.write("train/fake/broken.jpg", "no picture");
  dir.write_bmp("train/fake/odd.bmp", test::pattern(6, 6, 201));
  const std::filesystem::path strange = dir.path() / "train/real/\xFF,\n\".bmp";
  std::filesystem::copy_file(dir.path() / "train/real/3.bmp", strange);
  DataOptions o;
  o.data = dir.path();
  const Audit found = audit(o, 2);
  EXPECT_EQ(found.pictures(), 19);
  ASSERT_EQ(found.copies.size(), 4u);
  EXPECT_EQ(std::ranges::count_if(found.copies, &Copies::across_splits), 2);
  EXPECT_EQ(std::ranges::count_if(found.copies, &Copies::across_labels), 1);
  ASSERT_EQ(found.bad_files.size(), 1u);
  EXPECT_EQ(found.bad_files[0].relative, "train/fake/broken.jpg");
  EXPECT_NO_THROW(to_json(found).dump());
  EXPECT_NE(to_html(found).find("Files with the same bytes"), std::string::npos);
  EXPECT_TRUE(found.copies[0].across_labels) << "what must be mended comes first";
  const std::string text = to_text(found);
  EXPECT_NE(text.find("2 of them across splits"), std::string::npos);
  EXPECT_NE(text.find("\n  both labels: train: train/fake/odd.bmp, train: train/real/1.bmp\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n  several splits: train: train/fake/0.bmp, test: test/fake/0.bmp\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("1 group of equal files has both labels: correct"), std::string::npos);
}

TEST(Audit, AHeaderThatIsNotFoundIsUnknown) {
  const TempDir dir;
  dir.write("real/0.jpg", "\xFF\xD8 and no more");
  dir.write_bmp("fake/0.bmp", test::pattern(6, 6));
  DataOptions o;
  o.data = dir.path();
  std::map<std::string, std::string> real;
  for (const Share& s : audit(o, 1).shares)
    if (s.real > 0) real[s.property] = s.value;
  for (const char* property : {"dimensions", "JPEG quantisation table", "EXIF"})
    EXPECT_EQ(real[property], "unknown") << property;
}

TEST(Audit, TablesBesideFoldersOfPicturesNeedNotBeRead) {
  const TempDir dir;
  for (const char* split : {"train", "test"})
    for (const char* label : {"real", "fake"})
      dir.write_bmp(fmt::format("{}/{}/1.bmp", split, label),
                    test::pattern(6, 6, split[1] + label[0]));
  dir.write("train.csv", "id,label\n1,0\n2,1\n");
  dir.write("valid.csv", "id,label,size\n1,real,3\n2,fake,4\n");
  dir.write("test.csv", "id\n1\n");
  DataOptions o;
  o.data = dir.path();
  const Audit found = audit(o, 1);
  EXPECT_EQ(found.pictures(), 4);
  for (const char* table : {"train.csv", "test.csv"})
    EXPECT_NE(found.layout.find(fmt::format("; {} was not looked at: ", table)), std::string::npos)
        << found.layout;
  EXPECT_EQ(found.layout.find("valid.csv was not"), std::string::npos) << found.layout;
  EXPECT_EQ(std::ranges::count(found.properties, "size", &Property::name), 1);
  dir.write("val.csv", "");
  EXPECT_NE(audit(o, 1).layout.find("may both be the table of valid"), std::string::npos);
}

TEST(Audit, LooksAtFilesAlone) {
  const TempDir dir;
  Dataset split{dir.path(), "train", {}};
  for (int i = 0; i < 2; ++i) {
    const std::string name = fmt::format("{}.bmp", i);
    dir.write_bmp(name, test::pattern(9, 9, i));
    split.samples.push_back({name, i});
  }
  ThreadPool pool(1);
  DataOptions o;
  o.data = dir.path() / "set.dfpack";
  write_pack(o.data, {split}, {.size = 8}, pool, [](Index, Index) { return true; });
  const std::string text = test::thrown_text([&] { audit(o, 1); });
  EXPECT_NE(text.find("set.dfpack was packed of"), std::string::npos) << text;
}

TEST(Audit, TheRealSetsLeaks) {
  const auto faces = test::data_folder() / "faces140k";
  if (!std::filesystem::is_directory(faces)) GTEST_SKIP() << "no faces140k in DFENGINE_DATA";
  DataOptions o;
  o.data = faces;
  std::map<std::string, Verdict> verdicts;
  for (const Property& p : audit(o, 2).properties) verdicts[p.name] = p.separation.verdict;
  for (const char* leak : {"original_path", "id", "path", "label_str"})
    EXPECT_EQ(verdicts.at(leak), Verdict::Leak) << leak;
  EXPECT_EQ(verdicts.at("dimensions"), Verdict::None);
  EXPECT_FALSE(verdicts.contains("label"));
}

}  // namespace
}  // namespace dfengine::audit
