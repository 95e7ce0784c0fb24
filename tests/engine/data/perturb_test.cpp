// Pixel operations against Pillow, torchvision and scipy.
#include "engine/data/augment/perturb.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using test::fnv;
using test::pattern;

Pixels pixels(Image& image) {
  return {image.rgb.data(), image.h, image.w};
}

// colours() of make_perturb_goldens.py.
Image colours() {
  Image image{256, 256, {}};
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 256; ++x) {
      const bool gray = x % 16 == 0;
      for (int v : {gray ? y : x, y, gray ? y : (x * 7 + y * 13) & 255}) {
        image.rgb.push_back(static_cast<std::uint8_t>(v));
      }
    }
  }
  return image;
}

void apply(const std::string& op, double value, Image& image, PerturbScratch& scratch) {
  if (op == "jpeg") jpeg_recompress(pixels(image), static_cast<int>(value), scratch);
  if (op == "rescale") rescale(pixels(image), value, scratch);
  if (op == "blur") gaussian_blur(pixels(image), value, scratch);
  if (op == "brightness") brightness(pixels(image), value);
  if (op == "contrast") contrast(pixels(image), value);
  if (op == "saturation") saturation(pixels(image), value);
  if (op == "hue") hue(pixels(image), value);
}

TEST(Perturb, EqualsPillowTorchvisionAndScipy) {
  const auto cases = test::golden("data_perturb.json")["cases"];
  ASSERT_GT(cases.size(), 100u);
  PerturbScratch scratch;  // one for all: stale buffers would show
  for (const auto& c : cases) {
    const std::string op = c["op"];
    const double value = c["value"];
    const Index h = c["h"], w = c["w"];
    SCOPED_TRACE(fmt::format("{} {} of {} x {}", op, value, h, w));
    Image image = h == 0 ? colours() : pattern(h, w);
    apply(op, value, image, scratch);
    if (op == "blur") {
      // Two passes of float sums whose weights add up to 1, then half a level of rounding.
      const double terms = 2 * (8 * value + 2);
      const double bound = 0.5 + test::tolerance<float>(terms, 255) + test::decimal_tolerance(6, 1);
      for (std::size_t i = 0; i < c["exact"].size(); ++i) {
        ASSERT_NEAR(image.rgb[7 * i], c["exact"][i].get<double>(), bound) << "byte " << 7 * i;
      }
      continue;
    }
    const auto expected = test::from_hex(c["bytes"]);
    const std::size_t stride = c["stride"];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(int{image.rgb[i * stride]}, int{expected[i]}) << "byte " << i * stride;
    }
    EXPECT_EQ(fnv(image.rgb), c["fnv"].get<std::string>());
  }
}

TEST(Perturb, NoiseIsNormalAndFollowsItsKey) {
  constexpr double kSigma = 8;
  Image gray{64, 64, std::vector<std::uint8_t>(std::size_t{64} * 64 * 3, 128)};
  Image first = gray, again = gray, other = gray;
  add_noise(pixels(first), kSigma, 3, 5);
  add_noise(pixels(again), kSigma, 3, 5);
  add_noise(pixels(other), kSigma, 3, 6);
  EXPECT_EQ(first.rgb, again.rgb);
  EXPECT_NE(first.rgb, other.rgb);
  double sum = 0, squares = 0;
  for (std::uint8_t v : first.rgb) {
    sum += v - 128.0;
    squares += (v - 128.0) * (v - 128.0);
  }
  const auto n = static_cast<double>(first.rgb.size());
  // Rounding to levels adds the variance of a uniform step; a normal's square has variance 2 s^4.
  const double variance = kSigma * kSigma + 1.0 / 12;
  EXPECT_NEAR(sum / n, 0, test::sampling_tolerance(n, variance));
  EXPECT_NEAR(squares / n, variance, test::sampling_tolerance(n, 2 * variance * variance));
  Image dark{1, 1000, std::vector<std::uint8_t>(3000, 1)};
  add_noise(pixels(dark), 255, 0, 0);
  for (std::uint8_t end : {std::uint8_t{0}, std::uint8_t{255}}) {
    EXPECT_NE(std::find(dark.rgb.begin(), dark.rgb.end(), end), dark.rgb.end());  // cut, no wrap
  }
}

TEST(Perturb, RefusesWhatMakesNoSense) {
  PerturbScratch scratch;
  Image image = pattern(4, 5), none;
  EXPECT_THROW(jpeg_recompress(pixels(image), 0, scratch), UsageError);
  EXPECT_THROW(jpeg_recompress(pixels(image), 101, scratch), UsageError);
  for (double bad : {-1.0, 1e9, std::nan("")}) {
    SCOPED_TRACE(bad);
    EXPECT_THROW(gaussian_blur(pixels(image), bad, scratch), UsageError);
    EXPECT_THROW(rescale(pixels(image), bad, scratch), UsageError);
    EXPECT_THROW(add_noise(pixels(image), bad, 0, 0), UsageError);
    EXPECT_THROW(hue(pixels(image), bad), UsageError);
  }
  for (auto change : {brightness, contrast, saturation}) {
    EXPECT_THROW(change(pixels(image), -0.1), UsageError);
    EXPECT_THROW(change(pixels(image), INFINITY), UsageError);
    EXPECT_THROW(change(pixels(none), 1), ShapeError);
  }
  EXPECT_EQ(image.rgb, pattern(4, 5).rgb);
  EXPECT_THROW(jpeg_recompress(pixels(none), 50, scratch), ShapeError);
  EXPECT_THROW(gaussian_blur(pixels(none), 1, scratch), ShapeError);
}

TEST(JpegRecompress, TakesTheLongestSideThatIsRead) {
  PerturbScratch scratch;
  Image wide{1, kMaxImageSide, std::vector<std::uint8_t>(3 * kMaxImageSide)};
  EXPECT_NO_THROW(jpeg_recompress(pixels(wide), 75, scratch));
}

}  // namespace
}  // namespace dfengine
