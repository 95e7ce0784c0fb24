// A folder of damaged, lying and strangely named files: no crash, each one reported once with its
// reason.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "engine/data/loader.h"
#include "engine/data/sets/bad_files.h"
#include "engine/data/sets/csv.h"
#include "tests/engine/data/data_support.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

class HostileFolder : public testing::Test {
 protected:
  HostileFolder() {
    for (int i = 0; i < 30; ++i)  // so that the bad ones stay below half
      dir_.write_bmp("train/real/good" + std::to_string(i) + ".bmp", test::pattern(9, 9, i));
    const std::string jpeg = golden("420.jpg"), progressive = golden("420_progressive.jpg");
    bad("half.jpg", jpeg.substr(0, jpeg.size() / 2));
    bad("head.jpg", jpeg.substr(0, 30));
    bad("half_progressive.jpg", progressive.substr(0, progressive.size() / 2));
    bad("half.png", golden("rgb.png").substr(0, 60));
    bad("half.bmp", golden("rgb.bmp").substr(0, 60));
    bad("zero.jpg", "");
    bad("text.jpg", "no picture at all\n");
    bad("huffman.jpg", damaged_huffman(jpeg));
    bad("huge.png", huge_png());
    bad("huge.bmp", huge_bmp());
    bad("a,comma.jpg", "x");
    bad("a\"quote.jpg", "x");
    bad("a\nnewline.jpg", "x");
    bad("caf\xC3\xA9.jpg", "x");
    bad("caf\xE9.jpg", "x");  // Latin-1: no UTF-8
    good("png_inside.jpg", golden("rgb.png"));
    good("jpeg_inside.png", jpeg);
    good("cmyk.jpg", golden("cmyk.jpg"));
    good("sixteen.png", golden("rgb16.png"));
    dir_.write("train/fake/notes.txt", "passed over");
    fs::create_symlink("self.jpg", add("self.jpg"));
    fs::create_symlink("nowhere.jpg", add("dangling.jpg"));
    fs::create_directory_symlink("..", dir_.path() / "train/fake/loop");
  }

  static std::string golden(const std::string& name) {
    return test::slurp(test::golden_folder() / "images" / name);
  }
  fs::path add(const std::string& name) {
    expected_bad_.insert("train/fake/" + name);
    return dir_.path() / "train/fake" / name;
  }
  void bad(const std::string& name, const std::string& bytes) {
    add(name);
    good(name, bytes);
  }
  void good(const std::string& name, const std::string& bytes) {
    dir_.write("train/fake/" + name, bytes);
  }
  // Counts of code lengths that no prefix code has.
  static std::string damaged_huffman(std::string jpeg) {
    const std::size_t table = jpeg.find("\xFF\xC4");
    for (std::size_t i = 0; i < 16; ++i) jpeg[table + 5 + i] = '\xFF';
    return jpeg;
  }
  static std::string huge_png() {
    std::string png = golden("rgb.png");
    for (std::size_t at : {16u, 20u}) png.replace(at, 4, std::string("\0\0\x4E\x20", 4));
    return png;
  }
  static std::string huge_bmp() {
    std::string bmp = golden("rgb.bmp");
    for (std::size_t at : {18u, 22u}) bmp.replace(at, 4, std::string("\x20\x4E\0\0", 4));
    return bmp;
  }

  test::TempDir dir_;
  std::set<std::string> expected_bad_;
};

TEST_F(HostileFolder, EachIsReportedOnceWithItsReason) {
  if (geteuid() == 0) {
    std::cout << "as root every file can be read: unreadable permissions are not tried\n";
  } else {
    bad("locked.jpg", golden("420.jpg"));
    fs::permissions(dir_.path() / "train/fake/locked.jpg", fs::perms::none);
  }
  const Dataset data = test::split_of(dir_.path(), "train");
  ASSERT_EQ(data.unlisted.size(), 1u);
  EXPECT_EQ(data.unlisted[0].relative, "train/fake/loop");
  LoaderOptions options;
  options.size = 32;
  options.threads = 3;
  options.on_bad = OnBad::Skip;
  Loader loader(data, options);
  for (std::uint64_t epoch : {0u, 1u}) {
    BadFiles bad_files;
    Index good = 0;
    loader.start(epoch);
    for (Batch batch; loader.next(batch);) {
      good += batch.n;
      for (const LeftOut& b : batch.left_out) bad_files.add(data, b.index, b.reason);
    }
    std::set<std::string> found;
    for (const BadFile& b : bad_files.list()) {
      EXPECT_TRUE(found.insert(b.relative).second) << b.relative << " twice";
      EXPECT_GT(b.reason.size(), b.relative.size()) << "the reason says more than the name";
    }
    EXPECT_EQ(found, expected_bad_);
    EXPECT_EQ(good, 34);
    // The list survives its own file, whatever the names hold.
    const CsvTable table = parse_csv(bad_files.csv(), "bad_files.csv");
    std::set<std::string> listed;
    for (const auto& row : table.rows) listed.insert(row[1]);
    EXPECT_EQ(listed, expected_bad_);
  }
}

}  // namespace
}  // namespace dfengine
