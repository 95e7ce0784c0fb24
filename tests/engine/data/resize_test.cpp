// Resize and crop against Pillow and torchvision, bit for bit.
#include "engine/data/pictures/resize.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::pattern;

std::vector<std::uint8_t> resized(const nlohmann::json& c, Resizer& resizer) {
  const Image in = pattern(c["in_h"], c["in_w"]);
  const Index h = c["out_h"], w = c["out_w"];
  std::vector<std::uint8_t> out(static_cast<std::size_t>(h * w * 3));
  if (c["kind"] == "center") {
    prepare_image(in, Crop::Center, h, resizer, out.data());
  } else if (c["kind"] == "part") {
    const auto part = c["part"].get<std::vector<Index>>();
    resizer.resize_part(in, {part[0], part[1], part[2], part[3]}, h, w, out.data());
  } else {
    resizer.resize(in, h, w, out.data());
  }
  return out;
}

TEST(Resize, BitEqualToPillowAndTorchvision) {
  const auto cases = test::golden("data_resize.json")["cases"];
  ASSERT_GT(cases.size(), 60u);
  const cpu::Isa before = cpu::current_isa();
  for (cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
    if (!cpu::isa_supported(isa)) continue;
    cpu::set_isa(isa);
    // One of each for all: stale tables would show.
    std::map<std::string, Resizer> resizers = {{"bilinear", Resizer()},
                                               {"bicubic", Resizer(ResizeRule::Bicubic)},
                                               {"nearest", Resizer(ResizeRule::Nearest)}};
    for (const auto& c : cases) {
      nlohmann::json shown = c;
      shown.erase("bytes");
      SCOPED_TRACE(fmt::format("{} {}", cpu::isa_name(isa), shown.dump()));
      const auto out = resized(c, resizers.at(c["rule"]));
      const auto expected = test::from_hex(c["bytes"]);
      const std::size_t stride = c["stride"];
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(int{out[i * stride]}, int{expected[i]}) << "byte " << i * stride;
      }
      EXPECT_EQ(test::fnv(out), c["fnv"].get<std::string>());
    }
  }
  cpu::set_isa(before);
}

TEST(Resize, ConstantStaysConstant) {
  Resizer resizer;
  for (int level : {0, 1, 127, 254, 255}) {
    for (auto [in, to] : {std::pair<Index, Index>{256, 224}, {1, 9}, {97, 3}, {1000, 1}}) {
      Image image{in, in + 1, {}};
      image.rgb.assign(static_cast<std::size_t>(in * (in + 1) * 3),
                       static_cast<std::uint8_t>(level));
      std::vector<std::uint8_t> out(static_cast<std::size_t>(to * to * 3));
      resizer.resize(image, to, to, out.data());
      EXPECT_EQ(out, std::vector(out.size(), static_cast<std::uint8_t>(level))) << in << " " << to;
    }
  }
}

TEST(Resize, SameSizeIsExact) {
  const Image in = pattern(19, 23);
  std::vector<std::uint8_t> out(in.rgb.size());
  Resizer().resize(in, 19, 23, out.data());
  EXPECT_EQ(out, in.rgb);
}

TEST(Resize, WindowIsAPartOfTheWhole) {
  for (auto [h, w] : {std::pair<Index, Index>{40, 50}, {12, 9}, {21, 30}}) {
    const Image in = pattern(21, 30);
    std::vector<std::uint8_t> whole(static_cast<std::size_t>(h * w * 3));
    Resizer resizer;
    resizer.resize(in, h, w, whole.data());
    const CropWindow window{3, 2, 5, 4};
    std::vector<std::uint8_t> part(static_cast<std::size_t>(window.h * window.w * 3));
    resizer.resize_window(in, h, w, window, part.data());
    for (Index y = 0; y < window.h; ++y) {
      for (Index i = 0; i < window.w * 3; ++i) {
        EXPECT_EQ(part[static_cast<std::size_t>(y * window.w * 3 + i)],
                  whole[static_cast<std::size_t>(((window.top + y) * w + window.left) * 3 + i)]);
      }
    }
  }
}

// A thin picture must not make the cropped preparation build its whole enlarged length.
TEST(Resize, CropOfAThinPictureStaysSmall) {
  const Image thin = pattern(1, 60000);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(320 * 320 * 3));
  Resizer resizer;
  prepare_image(thin, Crop::Center, 320, resizer, out.data());
  EXPECT_NE(out, std::vector(out.size(), out[0]));
}

TEST(Resize, RefusesBadShapes) {
  Resizer resizer;
  std::uint8_t out[12];
  const Image in = pattern(2, 2);
  EXPECT_THROW(resizer.resize(Image{}, 1, 1, out), ShapeError);
  EXPECT_THROW(resizer.resize(in, 0, 1, out), ShapeError);
  EXPECT_THROW(resizer.resize_window(in, 4, 4, {3, 0, 2, 2}, out), ShapeError);
  EXPECT_THROW(resizer.resize_window(in, 4, 4, {0, -1, 2, 2}, out), ShapeError);
}

// numpy.pad(x, ..., mode="reflect") of 0 1 2 goes on ... 1 2 1 [0 1 2] 1 0 1 2 ...
TEST(CutWindow, GoesOnMirroredBehindTheBorders) {
  const std::vector<int> endless = {1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1};  // from -5 on
  Image image{3, 3, {}};
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x)
      for (int c = 0; c < 3; ++c)
        image.rgb.push_back(static_cast<std::uint8_t>(30 * y + 3 * x + c));
  for (const CropWindow& w :
       {CropWindow{0, 0, 3, 3}, {1, 1, 2, 2}, {-5, -5, 10, 10}, {-1, 2, 4, 3}}) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(w.h * w.w * 3));
    cut_window(image, w, out.data());
    for (Index y = 0; y < w.h; ++y)
      for (Index x = 0; x < w.w; ++x)
        for (Index c = 0; c < 3; ++c)
          ASSERT_EQ(int{out[static_cast<std::size_t>((y * w.w + x) * 3 + c)]},
                    30 * endless[static_cast<std::size_t>(w.top + y + 5)] +
                        3 * endless[static_cast<std::size_t>(w.left + x + 5)] + c)
              << w.top << " " << w.left << ": " << y << " " << x;
  }
  // A single pixel has nothing to mirror.
  const Image one{1, 1, {7, 8, 9}};
  std::vector<std::uint8_t> out(12);
  cut_window(one, {-1, 0, 2, 2}, out.data());
  EXPECT_EQ(out, (std::vector<std::uint8_t>{7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9}));
  EXPECT_THROW(cut_window(Image{}, {0, 0, 1, 1}, out.data()), ShapeError);
  EXPECT_THROW(cut_window(one, {0, 0, 0, 1}, out.data()), ShapeError);
}

// Crop::Random outside of training: no pixel is resampled.
TEST(CutWindow, TheMiddleOfAPictureIsAsItWas) {
  const Image large = test::pattern(15, 12);
  Resizer resizer;
  std::vector<std::uint8_t> out(8 * 8 * 3);
  prepare_image(large, Crop::Random, 8, resizer, out.data());
  // torchvision's center_crop: round((15 - 8) / 2) is 4 (half to even), (12 - 8) / 2 is 2.
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t y = i / 24 + 4, x = i % 24 / 3 + 2;
    ASSERT_EQ(out[i], large.rgb[(y * 12 + x) * 3 + i % 3]) << i;
  }
  const Image whole = test::pattern(8, 8);
  prepare_image(whole, Crop::Random, 8, resizer, out.data());
  EXPECT_EQ(out, whole.rgb);
  const CropWindow padded = middle_window(test::pattern(5, 8), 8);
  EXPECT_EQ(std::pair(padded.top, padded.left), std::pair(Index{-1}, Index{0}));
}

}  // namespace
}  // namespace dfengine
