// Decoding against Pillow, and hostile files.
#include "engine/data/pictures/image.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/data/pictures/jpeg.h"
#include "engine/data/pictures/resize.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::golden;
using test::golden_folder;
using test::thrown_text;

std::vector<std::byte> read_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

TEST(Image, DecodesLikePillow) {
  const auto cases = golden("data_images.json")["cases"];
  ASSERT_GT(cases.size(), 10u);
  for (const auto& c : cases) {
    const std::string file = c["file"];
    SCOPED_TRACE(file);
    const Image image = decode_image(golden_folder() / "images" / file);
    const auto expected = test::from_hex(c["rgb"]);
    EXPECT_EQ(image.h, c["h"].get<Index>());
    EXPECT_EQ(image.w, c["w"].get<Index>());
    ASSERT_EQ(image.rgb.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(int{image.rgb[i]}, int{expected[i]}) << "byte " << i;
    }
  }
}

TEST(Image, FileAndMemoryAgree) {
  const auto file = golden_folder() / "images/rgb.png";
  EXPECT_EQ(decode_image(file).rgb, decode_image(read_bytes(file), "memory").rgb);
}

// Every cut, from nothing to one missing byte, is an error that names the file.
TEST(Image, EveryTruncationIsAnError) {
  for (const char* name :
       {"rgb.png", "interlaced.png", "palette.png", "rgb16.png", "gray.JPEG", "rgb.jpg",
        "progressive.jpg", "420_progressive.jpg", "cmyk.jpg", "palette.bmp", "top_down.bmp"}) {
    SCOPED_TRACE(name);
    const auto bytes = read_bytes(golden_folder() / "images" / name);
    // The last row of a BMP ends with bytes that fill it up to four: no pixel depends on them.
    const std::size_t padding = std::string(name).ends_with("bmp") ? 3 : 0;
    for (std::size_t n = 0; n + padding < bytes.size(); ++n) {
      const std::span part = std::span(bytes).first(n);
      try {
        decode_image(part, name);
        FAIL() << "decoded from " << n << " of " << bytes.size() << " bytes";
      } catch (const DataError& e) {
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      }
    }
  }
}

// Damaged bytes either still decode or give DataError; the sanitizers watch the rest.
TEST(Image, DamagedBytesNeverCrash) {
  int errors = 0;
  const auto cases = golden("data_images.json")["cases"];
  for (const auto& c : cases) {
    const auto bytes = read_bytes(golden_folder() / "images" / std::string(c["file"]));
    Random random(7, RandomStream::Synth, 0);
    for (int trial = 0; trial < 300; ++trial) {
      auto damaged = bytes;
      for (int k = 0; k < 1 + trial % 4; ++k) {
        damaged[random.below(static_cast<std::uint32_t>(bytes.size()))] =
            static_cast<std::byte>(random.below(256));
      }
      try {
        const Image image = decode_image(damaged, "damaged");
        EXPECT_EQ(std::ssize(image.rgb), image.h * image.w * 3);
      } catch (const DataError&) {
        ++errors;
      }
    }
  }
  EXPECT_GT(errors, 0);
}

TEST(Image, NamesFileAndCause) {
  const test::TempDir dir;
  const auto text_of = [](const std::filesystem::path& file) {
    return thrown_text([&] { decode_image(file); });
  };
  EXPECT_THROW(decode_image(dir.path() / "absent.png"), DataError);
  EXPECT_NE(text_of(dir.path() / "absent.png").find("absent.png: no such file"), std::string::npos);
  EXPECT_NE(text_of(dir.write("empty.jpg", "")).find("empty.jpg: the file is empty"),
            std::string::npos);
  EXPECT_NE(text_of(dir.write("note.jpg", "a few words, no picture"))
                .find("note.jpg: not a JPEG, PNG or BMP picture"),
            std::string::npos);
  EXPECT_THROW(decode_image(dir.path()), DataError);  // a folder
  EXPECT_THROW(decode_image(dir.write("gif.png", "GIF89a\1\0\1\0\0\0\0")), DataError);
}

std::string big_endian(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8),
          static_cast<char>(v)};
}

std::string png_header(std::uint32_t w, std::uint32_t h) {
  return "\x89PNG\r\n\x1a\n" + big_endian(13) + "IHDR" + big_endian(w) + big_endian(h) +
         std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

TEST(Image, RefusesHugeClaims) {
  for (auto [w, h] :
       {std::pair{65535u, 65535u}, {1u, 65536u}, {0x7FFFFFFFu, 1u}, {20000u, 5001u}}) {
    const auto bytes = bytes_of(png_header(w, h));
    EXPECT_THROW(decode_image(bytes, "huge.png"), DataError) << w << " x " << h;
  }
  const auto bytes = bytes_of(png_header(20000, 5001));
  EXPECT_NE(thrown_text([&] { decode_image(bytes, "huge.png"); }).find("20000 x 5001 pixels pass"),
            std::string::npos);
  // A data chunk that claims a gigabyte in a file of a few bytes.
  const auto chunk = bytes_of(png_header(4, 4) + big_endian(1u << 29) + "IDAT" + "abc");
  EXPECT_THROW(decode_image(chunk, "chunk.png"), DataError);
}

// A table of more than 256 codes, wherever in the file it stands.
TEST(Jpeg, RefusesOversizedHuffmanTables) {
  const auto good = read_bytes(golden_folder() / "images/progressive.jpg");
  const auto is_table = [&](std::size_t i) {
    return good[i] == std::byte{0xFF} && good[i + 1] == std::byte{0xC4};
  };
  int tables = 0;
  for (std::size_t i = 0; i + 21 < good.size(); ++i) {
    if (!is_table(i)) continue;
    ++tables;
    auto bad = good;
    // Counts of codes with 15 and 16 bits: FF C4, length (2), class, 16 counts.
    bad[i + 19] = bad[i + 20] = std::byte{0xFF};
    EXPECT_NE(thrown_text([&] { decode_image(bad, "bad.jpg"); }).find("Huffman table"),
              std::string::npos);
  }
  EXPECT_GT(tables, 1);
  // The same bytes inside a comment are nobody's table.
  const auto comment =
      bytes_of(std::string("\xFF\xFE\0\x16\xFF\xC4\0\x14", 8) + std::string(16, '\xFF'));
  auto commented = good;
  commented.insert(commented.begin() + 2, comment.begin(), comment.end());
  EXPECT_EQ(decode_image(commented, "commented.jpg").rgb, decode_image(good, "good.jpg").rgb);
}

std::string segment(int marker, const std::string& body) {
  const auto size = body.size() + 2;
  return std::string{'\xFF', static_cast<char>(marker), static_cast<char>(size >> 8),
                     static_cast<char>(size)} +
         body;
}

// A baseline JPEG of three components, mid-gray whatever its (at most 8 x 8) size. Y is sent
// `scans` - 2 times; one bit each says that a block's mean and its other values are zero.
std::vector<std::byte> gray_jpeg(int h, int w, int scans) {
  const auto two = [](int v) {
    return std::string{static_cast<char>(v >> 8), static_cast<char>(v)};
  };
  const std::string one_code = '\1' + std::string(16, '\0');
  std::string file = "\xFF\xD8" + segment(0xDB, '\0' + std::string(64, '\1'));
  file += segment(0xC0, '\x08' + two(h) + two(w) + std::string("\3\1\x11\0\2\x11\0\3\x11\0", 10));
  file += segment(0xC4, '\0' + one_code) + segment(0xC4, '\x10' + one_code);
  for (int i = 0; i < scans; ++i) {
    const int component = std::max(1, i - scans + 4);
    file += segment(0xDA, {1, static_cast<char>(component), 0, 0, 63, 0}) + '\x3F';
  }
  return bytes_of(file + "\xFF\xD9");
}

TEST(Jpeg, LimitsScans) {
  const Image image = decode_image(gray_jpeg(5, 7, kMaxJpegScans), "many.jpg");
  EXPECT_EQ(image.h, 5);
  EXPECT_EQ(image.w, 7);
  EXPECT_EQ(image.rgb, std::vector<std::uint8_t>(5 * 7 * 3, 128));
  const auto bomb = gray_jpeg(5, 7, kMaxJpegScans + 1);
  EXPECT_NE(thrown_text([&] { decode_image(bomb, "bomb.jpg"); }).find("bomb.jpg: more than"),
            std::string::npos);
}

TEST(Jpeg, RefusesHugeClaims) {
  EXPECT_NE(thrown_text([&] {
              decode_image(gray_jpeg(5001, 20000, 3), "huge.jpg");
            }).find("20000 x 5001 pixels pass"),
            std::string::npos);
  EXPECT_THROW(decode_image(gray_jpeg(65535, 65535, 3), "huge.jpg"), DataError);
  EXPECT_THROW(decode_image(gray_jpeg(0, 8, 3), "flat.jpg"), DataError);
}

// Pixels that libjpeg would fill in by itself after a warning, and print the warning.
TEST(Jpeg, LostPixelsAreAnErrorAndNothingIsPrinted) {
  auto bytes = read_bytes(golden_folder() / "images/420.jpg");
  bytes.erase(bytes.end() - 12, bytes.end() - 2);  // the end marker stays
  testing::internal::CaptureStderr();
  EXPECT_NE(
      thrown_text([&] { decode_image(bytes, "lost.jpg"); }).find("premature end of data segment"),
      std::string::npos);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// Bytes that no pixel needs are no damage: cameras and servers leave some.
TEST(Jpeg, IgnoresExtraneousBytes) {
  const auto good = read_bytes(golden_folder() / "images/420.jpg");
  auto padded = good;
  padded.insert(padded.end() - 2, 3, std::byte{0});
  padded.insert(padded.end(), 5, std::byte{7});
  testing::internal::CaptureStderr();
  EXPECT_EQ(decode_image(padded, "padded.jpg").rgb, decode_image(good, "good.jpg").rgb);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(PrepareImage, RefusesEmpty) {
  Resizer resizer;
  std::uint8_t out[3];
  EXPECT_THROW(prepare_image(Image{}, Crop::None, 1, resizer, out), ShapeError);
  EXPECT_THROW(prepare_image(test::pattern(2, 2), Crop::Center, 0, resizer, out), ShapeError);
}

}  // namespace
}  // namespace dfengine
