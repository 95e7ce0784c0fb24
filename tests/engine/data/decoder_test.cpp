// Decoding picture after picture: buffers kept, limits, files that are none.
#include "engine/data/pictures/decoder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>

#include "engine/data/pictures/exif.h"
#include "engine/data/pictures/file_properties.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using test::golden_folder;
using test::thrown_text;

TEST(ImageDecoder, KeepsItsBuffersFromPictureToPicture) {
  ImageDecoder decoder;
  const auto images = golden_folder() / "images";
  for (const char* name : {"rgb.png", "420.jpg", "turned_6.jpg"}) {
    SCOPED_TRACE(name);
    decoder.decode(images / name);
    decoder.decode(images / name);  // a turned picture changes places with its spare
    const std::uint8_t* before = decoder.decode(images / name).rgb.data();
    decoder.decode(images / name);
    const Image& again = decoder.decode(images / name);
    EXPECT_EQ(again.rgb.data(), before);
    EXPECT_EQ(again.rgb, decode_image(images / name).rgb);
  }
  // A smaller picture after a larger one has its own size.
  EXPECT_EQ(decoder.decode(images / "turned_1.jpg").rgb.size(), 5u * 9 * 3);
}

TEST(ImageDecoder, LimitsPixels) {
  const auto images = golden_folder() / "images";
  for (const char* name : {"rgb.png", "420.jpg", "rgb.bmp"}) {
    SCOPED_TRACE(name);
    const Image image = decode_image(images / name);
    ImageDecoder exact(image.h * image.w), tight(image.h * image.w - 1);
    EXPECT_EQ(exact.decode(images / name).rgb, image.rgb);
    const std::string text = thrown_text([&] { tight.decode(images / name); });
    EXPECT_NE(text.find("(max-pixels)"), std::string::npos) << text;
  }
  EXPECT_THROW(ImageDecoder(0), UsageError);
  EXPECT_THROW(ImageDecoder((Index{1} << 30) + 1), UsageError);
}

TEST(ImageDecoder, RefusesWhatIsNoFile) {
  const test::TempDir dir;
  const auto text_of = [](const std::filesystem::path& file) {
    return thrown_text([&] { ImageDecoder().decode(file); });
  };
  const auto pipe = dir.path() / "pipe.jpg";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(text_of(pipe).find("pipe.jpg: not a file"), std::string::npos);  // and does not wait
  EXPECT_NE(text_of(dir.path()).find("not a file"), std::string::npos);
  std::filesystem::create_symlink("loop.jpg", dir.path() / "loop.jpg");
  EXPECT_NE(text_of(dir.path() / "loop.jpg").find("symbolic links"), std::string::npos);
  if (geteuid() == 0) GTEST_SKIP() << "root may read every file";
  const auto locked = dir.write("locked.jpg", "x");
  ASSERT_EQ(chmod(locked.c_str(), 0), 0);
  EXPECT_NE(text_of(locked).find("check its permissions"), std::string::npos);
}

TEST(Exif, DamageMeansNoOrientation) {
  const auto file = golden_folder() / "images/turned_6.jpg";
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), {});
  const auto orientation = [](const std::string& bytes) {
    return exif_orientation(std::as_bytes(std::span(bytes)));
  };
  EXPECT_EQ(orientation(text), 6);
  const std::size_t tiff = text.find("Exif") + 6;
  for (std::size_t n = 0; n < tiff + 8; ++n) EXPECT_EQ(orientation(text.substr(0, n)), 1);
  for (const char* far : {"\xFF\xFF\xFF\xFF", "\xFF\xFF\xFF\x7F"}) {  // the directory's place
    std::string damaged = text;
    damaged.replace(tiff + 4, 4, far, 4);
    EXPECT_EQ(orientation(damaged), 1);
  }
}

// A chunk of a PNG without its checksum's value, which nothing here looks at.
std::string chunk(const std::string& kind, const std::string& body) {
  std::string text;
  for (const int shift : {24, 16, 8, 0}) text += static_cast<char>(body.size() >> shift & 255);
  return text + kind + body + "crc!";
}

std::string compressed_note(const std::string& content) {
  std::string packed(compressBound(content.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(content.data()), content.size());
  return chunk("zTXt", std::string("Raw profile type exif\0\0", 23) + packed.substr(0, size));
}

TEST(Exif, OfAnyNumberOfCompressedNotesTheLastIsUnpacked) {
  const std::string big(std::size_t{1} << 20, 'x'), begin = "\x89PNG\r\n\x1A\n";
  const std::string turned = compressed_note(
      "\nexif\n      38\n4d4d002a000000080001011200030000000100060000" + std::string(16, '0'));
  const std::string note = compressed_note(big);
  std::string file = begin;
  for (int i = 0; i < 10000; ++i) file += note;
  const auto orientation = [](const std::string& bytes) {
    return exif_orientation(std::as_bytes(std::span(bytes)));
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(orientation(file + turned), 6);
  EXPECT_EQ(orientation(file), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
  EXPECT_EQ(orientation(begin + turned), 6);
  EXPECT_EQ(orientation(begin + turned + note), 1);
  EXPECT_EQ(orientation(begin + turned + compressed_note(big + "longer")), 1);
  EXPECT_EQ(orientation(begin + turned.substr(0, turned.size() - 8)), 1) << "cut short";
}

// A colour profile and a preview before the frame, of `segments` times 64 KiB.
std::string with_long_header(std::string jpeg, int segments) {
  for (int i = 0; i < segments; ++i)
    jpeg.insert(2, std::string("\xFF\xE2\xFF\xFF") + std::string(65533, 'x'));
  return jpeg;
}

TEST(FileProperties, ALongHeaderIsReadToItsEnd) {
  const test::TempDir dir;
  const std::string jpeg = test::slurp(golden_folder() / "images/420.jpg");
  const FileProperties known = read_file_properties(dir.write("a.jpg", with_long_header(jpeg, 5)));
  ASSERT_TRUE(known.jpeg);
  EXPECT_EQ(known.w, 23);
  EXPECT_EQ(known.exif, std::optional(false));
  const FileProperties endless =
      read_file_properties(dir.write("b.jpg", with_long_header(jpeg, 40)));
  EXPECT_FALSE(endless.jpeg);
  EXPECT_EQ(endless.w, 0);
  EXPECT_EQ(endless.exif, std::nullopt);
}

TEST(FileProperties, ExifIsFoundInEveryFormat) {
  const test::TempDir dir;
  const auto exif_of = [](const std::filesystem::path& file) {
    return read_file_properties(file).exif;
  };
  const std::filesystem::path images = golden_folder() / "images";
  for (const char* name : {"turned_6.jpg", "turned_6.png", "turned_6.webp", "turned_6_text.png"})
    EXPECT_EQ(exif_of(images / name), std::optional(true)) << name;
  for (const char* name : {"420.jpg", "rgb.png", "lossy.webp", "rgb.bmp"})
    EXPECT_EQ(exif_of(images / name), std::optional(false)) << name;
  EXPECT_EQ(exif_of(dir.write("a.jpg", "text")), std::nullopt);
  std::string png = test::slurp(images / "rgb.png");
  png.insert(png.size() - 12, chunk("tEXt", std::string(100000, 'x')) + chunk("eXIf", "MM"));
  EXPECT_EQ(exif_of(dir.write("a.png", png)), std::optional(true)) << "behind the pixels";
}

}  // namespace
}  // namespace dfengine
