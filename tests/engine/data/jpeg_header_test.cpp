// JPEG headers against Pillow's reading, and against files that lie.
#include "engine/data/pictures/jpeg_header.h"

#include <gtest/gtest.h>

#include "engine/data/pictures/exif.h"
#include "kernels/base/random.h"
#include "tests/engine/data/data_support.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

std::vector<std::byte> picture(const std::string& name) {
  return test::bytes_of(test::slurp(test::golden_folder() / "images" / name));
}

TEST(JpegHeader, EqualsPillows) {
  const nlohmann::json goldens = test::golden("data_jpeg_headers.json");
  for (const nlohmann::json& want : goldens.at("cases")) {
    SCOPED_TRACE(want.dump());
    const auto header = read_jpeg_header(picture(want.at("file")));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->h, want.at("h"));
    EXPECT_EQ(header->w, want.at("w"));
    EXPECT_EQ(header->components, want.at("components"));
    EXPECT_EQ(header->progressive, want.at("progressive"));
    EXPECT_EQ(header->chroma_across, want.at("sampling").at(0));
    EXPECT_EQ(header->chroma_down, want.at("sampling").at(1));
    for (int t : {0, 1}) EXPECT_EQ(header->quantisation_sum(t), want.at("sums").at(t));
    EXPECT_EQ(has_exif(picture(want.at("file"))), want.at("exif"));
  }
}

TEST(JpegHeader, TablesAndExif) {
  const auto plain = picture("420.jpg");
  const auto a = read_jpeg_header(plain), b = read_jpeg_header(picture("422.jpg"));
  const auto c = read_jpeg_header(picture("420_progressive.jpg"));
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(a->quantisation_id(), b->quantisation_id()) << "both of quality 90";
  EXPECT_NE(a->quantisation_id(), c->quantisation_id());
  auto tagged = plain;
  const auto segment =
      test::bytes_of(std::string("\xFF\xFF\xE1\x00\x0A"
                                 "Exif\0\0xx",
                                 13));
  tagged.insert(tagged.begin() + 2, segment.begin(), segment.end());
  const auto header = read_jpeg_header(tagged);
  ASSERT_TRUE(header);
  EXPECT_TRUE(has_exif(tagged));
  EXPECT_EQ(header->h, a->h);
}

TEST(JpegHeader, NeedsTheWholeHeaderAndNoMore) {
  EXPECT_FALSE(read_jpeg_header({}));
  EXPECT_FALSE(read_jpeg_header(picture("rgb.png")));
  const auto whole = picture("420.jpg");
  bool was = false;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    // A vector of its own, so that a sanitizer sees any read past the end.
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<Index>(n));
    const bool is = read_jpeg_header(cut).has_value();
    EXPECT_TRUE(is || !was) << n;
    was = is;
  }
  EXPECT_TRUE(was);
}

TEST(JpegHeader, DamagedBytesNeverReadOutside) {
  for (const char* name : {"420.jpg", "cmyk.jpg", "gray_progressive.jpg"}) {
    const auto whole = picture(name);
    const auto head = std::min<std::size_t>(whole.size(), 700);
    for (std::uint32_t i = 0; i < 3000; ++i) {
      auto bytes = std::vector<std::byte>(whole.begin(), whole.begin() + static_cast<Index>(head));
      const auto r = philox(1, RandomStream::Init, 0, i);
      for (std::size_t k : {0u, 2u}) bytes[r[k] % head] = static_cast<std::byte>(r[k + 1]);
      const auto header = read_jpeg_header(bytes);
      if (header) {
        EXPECT_LE(header->h, 65535);
      }
    }
  }
}

}  // namespace
}  // namespace dfengine
