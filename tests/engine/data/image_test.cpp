// Decoding against Pillow, and hostile files.
#include "engine/data/pictures/image.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>

#include "engine/data/pictures/decoder.h"
#include "engine/data/pictures/jpeg.h"
#include "engine/data/pictures/resize.h"
#include "kernels/base/error.h"
#include "kernels/base/memory.h"
#include "kernels/base/random.h"
#include "tests/engine/data/data_support.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using test::bytes_of;
using test::golden;
using test::golden_folder;
using test::thrown_text;

std::vector<std::byte> read_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

bool reads_webp() {
  const auto file = golden_folder() / "images/lossy.webp";
  const std::string text = thrown_text([&] { decode_image(file); });
  return text.find("this build does not read") == std::string::npos;
}

TEST(Image, DecodesLikePillow) {
  const auto cases = golden("data_images.json")["cases"];
  ASSERT_GT(cases.size(), 10u);
  for (const auto& c : cases) {
    const std::string file = c["file"];
    SCOPED_TRACE(file);
    if (file.ends_with(".webp") && !reads_webp()) continue;
    const Image image = decode_image(golden_folder() / "images" / file);
    const auto expected = test::from_hex(c["rgb"]);
    EXPECT_EQ(image.h, c["h"].get<Index>());
    EXPECT_EQ(image.w, c["w"].get<Index>());
    ASSERT_EQ(image.rgb.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(int{image.rgb[i]}, int{expected[i]}) << "byte " << i;
    }
  }
  if (!reads_webp()) GTEST_SKIP() << "a build without libwebp: its pictures are left out";
}

TEST(Image, FileAndMemoryAgree) {
  const auto file = golden_folder() / "images/rgb.png";
  EXPECT_EQ(decode_image(file).rgb, decode_image(read_bytes(file), "memory").rgb);
}

// Every cut, from nothing to one missing byte, is an error that names the file.
TEST(Image, EveryTruncationIsAnError) {
  for (const char* name :
       {"turned_6_text.png", "lossy.webp", "lossless.webp", "alpha.webp", "turned_6.webp",
        "rgb.png", "interlaced.png", "palette.png", "rgb16.png", "gray.JPEG", "rgb.jpg",
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
  EXPECT_NE(text_of("https://example.org/a.jpg").find("is not fetched, download it first"),
            std::string::npos);
  EXPECT_NE(text_of(dir.write("empty.jpg", "")).find("empty.jpg: the file is empty"),
            std::string::npos);
  EXPECT_NE(text_of(dir.write("note.jpg", "a few words, no picture"))
                .find("note.jpg: not a JPEG, PNG, WebP or BMP picture"),
            std::string::npos);
  EXPECT_THROW(decode_image(dir.path()), DataError);  // a folder
}

TEST(Image, NamesTheFormatsThatAreNotRead) {
  using namespace std::string_literals;
  const std::pair<const char*, std::string> files[] = {
      {"GIF picture", "GIF89a\1\0\1\0"s},
      {"TIFF picture", "II*\0\b\0\0\0"s},
      {"TIFF picture", "MM\0*\0\0\0\b"s},
      {"AVIF picture",
       "\0\0\0\x1C"
       "ftypavif\0\0\0\0avifmif1"s},
      {"AVIF picture",
       "\0\0\0\x1C"
       "ftypmif1\0\0\0\0mif1avif"s},
      {"HEIC picture",
       "\0\0\0\x18"
       "ftypheic\0\0\0\0mif1"s},
      {"HEIC picture",
       "\0\0\0\x18"
       "ftypmif1\0\0\0\0mif1"s},
      {"MP4 or MOV video",
       "\0\0\0\x18"
       "ftypisom\0\0\2\0isom"s},
      {"JPEG XL picture", "\xFF\x0A\0\0"s},
      {"JPEG 2000 picture", "\0\0\0\x0CjP  \r\n\x87\n"s},
      {"Photoshop picture", "8BPS\0\1"s},
      {"SVG picture", "<?xml version='1.0'?>\n<svg xmlns=''/>"s},
      {"HTML page", "\n <!DOCTYPE HTML><title>404</title>"s},
      {"Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid"s},
      {"zip archive", "PK\3\4"s}};
  for (const auto& [format, bytes] : files) {
    const std::string text =
        thrown_text([&bytes = bytes] { decode_image(bytes_of(bytes), "named.jpg"); });
    EXPECT_NE(text.find(std::string("named.jpg: its bytes are a ") + format), std::string::npos)
        << text;
  }
  // Words that begin like a BMP are none.
  EXPECT_NE(thrown_text([&] {
              decode_image(bytes_of("BMW drove into the picture"), "bmw.txt");
            }).find("not a JPEG, PNG, WebP or BMP"),
            std::string::npos);
}

TEST(Image, AnimationsHaveNoPicture) {
  // VP8X with the flag of an animation, as WebP's container specification has it.
  const auto bytes =
      bytes_of(std::string("RIFF\x1E\0\0\0WEBPVP8X\x0A\0\0\0\2\0\0\0\7\0\0\7\0\0", 30) +
               std::string("ANIM\6\0\0\0\0\0\0\0\0\0", 14));
  EXPECT_THROW(decode_image(bytes, "moving.webp"), DataError);
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
  EXPECT_EQ(image.rgb, std::vector<std::uint8_t>(std::size_t{5} * 7 * 3, 128));
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

TEST(Image, TooManyPixelsAreNamedInEveryFormat) {
  std::string bmp = test::slurp(golden_folder() / "images/rgb.bmp");
  std::string webp = "RIFF" + std::string("\x16\0\0\0", 4) + "WEBPVP8X" +
                     std::string("\x0A\0\0\0\0\0\0\0\x5F\xEA\0\x5F\xEA\0", 14);
  for (std::size_t at : {18u, 22u}) bmp.replace(at, 4, std::string("\x60\xEA\0\0", 4));
  for (const std::string& bytes : {png_header(60000, 60000), bmp, webp}) {
    const std::string text = thrown_text([&] { decode_image(bytes_of(bytes), "huge"); });
    EXPECT_NE(text.find("60000 x 60000 pixels pass the limit"), std::string::npos) << text;
  }
  EXPECT_NE(thrown_text([&] {
              decode_image(bytes_of(png_header(0x7FFFFFFF, 9)), "huge.png");
            }).find("2147483647 x 9 pixels pass the limit of 65500 a side"),
            std::string::npos);
  EXPECT_NE(thrown_text([&] {
              decode_image(bytes_of(png_header(65501, 9)), "huge.png");
            }).find("65501 x 9 pixels pass the limit"),
            std::string::npos);
}

// The decoders of some kinds need more than the pixels: it is known before they take it.
TEST(Image, TheMemoryOfADecodeIsBoundedBeforeItBegins) {
  ImageDecoder decoder;
  const auto bomb = gray_jpeg(9000, 11000, 5);  // of several scans: 9 bytes a pixel
  const std::string text = thrown_text([&] { decoder.decode(bomb, "bomb.jpg"); });
  for (const char* part : {"JPEG of several scans of 11000 x 9000 pixels", "849 MiB", "572 MiB",
                           "that max-pixels 100000000"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  // Lossless WebP: a header of 14-bit sides.
  const std::string vp8l = std::string("RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0\x2F", 21) +
                           std::string("\xFF\xE7\xF9\x09\0\0\0", 7);  // 10240 x 10216
  EXPECT_THROW(decoder.decode(bytes_of(vp8l), "bomb.webp"), DataError);
}

std::string png_chunk(const std::string& kind, const std::string& data) {
  const std::string body = kind + data;
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(crc));
}

// Of 16 bits and with alpha, which are 8 bytes a pixel.
std::vector<std::byte> black_png(Index h, Index w) {
  std::string row(static_cast<std::size_t>(1 + 8 * w), '\0');
  std::string packed(static_cast<std::size_t>(h * w), '\0');
  z_stream stream = {};
  deflateInit(&stream, Z_BEST_SPEED);
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  for (Index y = 0; y < h; ++y) {
    stream.next_in = reinterpret_cast<Bytef*>(row.data());
    stream.avail_in = static_cast<uInt>(row.size());
    deflate(&stream, y + 1 < h ? Z_NO_FLUSH : Z_FINISH);
  }
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  const std::string header = big_endian(static_cast<std::uint32_t>(w)) +
                             big_endian(static_cast<std::uint32_t>(h)) +
                             std::string("\x10\6\0\0\0", 5);
  return bytes_of("\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", packed) +
                  png_chunk("IEND", ""));
}

TEST(Image, ALargePngIsDecodedRowByRow) {
  const Index h = 2000, w = 4000;
  const auto bytes = black_png(h, w);
  ImageDecoder decoder;
  const Index resident = peak_resident_bytes();
  const Image& image = decoder.decode(bytes, "large.png");
  EXPECT_EQ(image.h, h);
  EXPECT_EQ(image.rgb[0], 0);
  EXPECT_LT(peak_resident_bytes() - resident, 4 * h * w);
}

TEST(PrepareImage, RefusesEmpty) {
  Resizer resizer;
  std::uint8_t out[3];
  EXPECT_THROW(prepare_image(Image{}, Crop::None, 1, resizer, out), ShapeError);
  EXPECT_THROW(prepare_image(test::pattern(2, 2), Crop::Center, 0, resizer, out), ShapeError);
}

}  // namespace
}  // namespace dfengine
