// Augmentation against torchvision and Pillow: fixed changes bit for bit, drawn ones by their
// moments.
#include "engine/data/augment/augment.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr std::uint64_t kSeed = 9;

CropWindow window_of(const nlohmann::json& j) {
  return {j[0], j[1], j[2], j[3]};
}

TEST(Augment, FixedChangesEqualTorchvision) {
  Augmenter augmenter;  // one for all: stale buffers would show
  int changes = 0;
  const auto cases = test::golden("data_augment.json")["cases"];
  for (const auto& c : cases) {
    if (c["kind"] != "change") continue;
    SCOPED_TRACE(++changes);
    Augmentation what;
    what.crop = window_of(c["crop"]);
    what.mirrored = c["mirrored"];
    what.color = c["color"];
    what.order = c["order"];
    what.downscale = c["downscale"];
    what.jpeg_quality = c["quality"];
    what.erased = window_of(c["erased"]);
    Image image = test::pattern(c["size"], c["size"]);
    augmenter.apply(what, image.rgb.data(), image.h);
    const auto expected = test::from_hex(c["bytes"]);
    const std::size_t stride = c["stride"];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(int{image.rgb[i * stride]}, int{expected[i]}) << "byte " << i * stride;
    }
    EXPECT_EQ(test::fnv(image.rgb), c["fnv"].get<std::string>());
  }
  EXPECT_EQ(changes, 8);
}

TEST(Augment, BlurIsApplied) {
  Image image = test::pattern(16, 16), blurred = image;
  PerturbScratch scratch;
  gaussian_blur({blurred.rgb.data(), 16, 16}, 1.5, scratch);
  Augmentation what;
  what.blur_sigma = 1.5;
  Augmenter().apply(what, image.rgb.data(), 16);
  EXPECT_EQ(image.rgb, blurred.rgb);
}

// Both sides are sampled: their errors add up.
double two_samples(double n, double variance) {
  return test::sampling_tolerance(n, variance) + test::sampling_tolerance(n, variance);
}

TEST(Augment, RectanglesAreDistributedAsTorchvisions) {
  const auto cases = test::golden("data_augment.json")["cases"];
  for (const auto& c : cases) {
    if (c["kind"] == "change") continue;
    SCOPED_TRACE(c.dump());
    AugmentOptions o;
    const Range scale = {c["scale"][0], c["scale"][1]}, ratio = {c["ratio"][0], c["ratio"][1]};
    const bool crop = c["kind"] == "crop";
    (crop ? o.scale : o.erase_scale) = scale;
    (crop ? o.ratio : o.erase_ratio) = ratio;
    o.erase_prob = crop ? 0 : 1;
    const double n = c["draws"];
    std::array<double, 4> sum = {}, squares = {};
    double drawn = 0;
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(n); ++i) {
      const Augmentation a = draw_augmentation(o, c["size"], kSeed, 0, i);
      const CropWindow w = crop ? a.crop : a.erased;
      if (w.h == 0) continue;
      ++drawn;
      const Index values[4] = {w.top, w.left, w.h, w.w};
      for (std::size_t k = 0; k < 4; ++k) {
        const auto v = static_cast<double>(values[k]);
        sum[k] += v;
        squares[k] += v * v;
      }
    }
    const double share = c["drawn"].get<double>() / n;
    EXPECT_NEAR(drawn / n, share, two_samples(n, share * (1 - share)));
    for (std::size_t k = 0; k < 4; ++k) {
      const double mean = sum[k] / drawn, variance = c["variance"][k];
      EXPECT_NEAR(mean, c["mean"][k].get<double>(), two_samples(drawn, variance));
      // A square deviation of a bounded value varies by less than range^2 times itself.
      const double range = c["size"];
      EXPECT_NEAR(squares[k] / drawn - mean * mean, variance,
                  two_samples(drawn, range * range * variance));
    }
  }
}

// A uniform draw from [low, high], or switched off with chance 1 - p.
TEST(Augment, DrawsKeepTheirRangesAndChances) {
  AugmentOptions o;
  o.hflip = true;
  o.color_jitter = {0.4, 0.3, 2, 0.1};
  o.downscale_prob = 0.3;
  o.blur_prob = 0.6;
  o.jpeg_prob = 0.2;
  o.erase_prob = 0.25;
  o.vflip = o.rot90 = true;
  o.webp_prob = 0.4;
  o.webp_quality = {50, 80};
  struct Draw {
    const char* name;
    double p, low, high;
    std::function<double(const Augmentation&)> value;  // NaN: off
  };
  const auto on = [](bool drawn, double value) { return drawn ? value : std::nan(""); };
  const std::vector<Draw> draws = {
      {"brightness", 1, 0.6, 1.4, [](const auto& a) { return a.color[0]; }},
      {"contrast", 1, 0.7, 1.3, [](const auto& a) { return a.color[1]; }},
      {"saturation", 1, 0, 3, [](const auto& a) { return a.color[2]; }},
      {"hue", 1, -0.1, 0.1, [](const auto& a) { return a.color[3]; }},
      {"mirror", 0.5, 1, 1, [&](const auto& a) { return on(a.mirrored, 1); }},
      {"downscale", 0.3, 0.5, 1, [&](const auto& a) { return on(a.downscale != 1, a.downscale); }},
      {"blur", 0.6, 0, 3, [&](const auto& a) { return on(a.blur_sigma > 0, a.blur_sigma); }},
      {"jpeg", 0.2, 30, 100, [&](const auto& a) { return on(a.jpeg_quality > 0, a.jpeg_quality); }},
      {"upside down", 0.5, 1, 1, [&](const auto& a) { return on(a.upside_down, 1); }},
      {"half turn", 0.25, 2, 2, [&](const auto& a) { return on(a.quarter_turns == 2, 2); }},
      {"turn", 1, 0, 3, [](const auto& a) { return a.quarter_turns; }},
      {"webp", 0.4, 50, 80, [&](const auto& a) { return on(a.webp_quality > 0, a.webp_quality); }},
      {"erase", 0.25, 1, 1, [&](const auto& a) { return on(a.erased.h > 0, 1); }}};
  constexpr std::uint32_t kDraws = 20000;
  for (const Draw& d : draws) {
    SCOPED_TRACE(d.name);
    double sum = 0, n = 0;
    for (std::uint32_t i = 0; i < kDraws; ++i) {
      const double v = d.value(draw_augmentation(o, 64, kSeed, 3, i));
      if (std::isnan(v)) continue;
      ASSERT_GE(v, d.low);
      ASSERT_LE(v, d.high);
      sum += v;
      ++n;
    }
    EXPECT_NEAR(n, kDraws * d.p, test::count_tolerance(kDraws, d.p));
    // Whole numbers spread a bit wider.
    const double steps = std::set<std::string>{"jpeg", "webp", "turn"}.contains(d.name) ? 1 : 0;
    const double width = d.high - d.low + steps;
    EXPECT_NEAR(sum / n, (d.low + d.high) / 2, test::sampling_tolerance(n, width * width / 12));
  }
}

// numpy: rot90(flipud(x), k). Pixel (y, x) of a picture whose sides are 3.
TEST(Augment, TurnsAsNumpyDoes) {
  const std::vector<int> plain = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::vector<int>> turned = {{0, 1, 2, 3, 4, 5, 6, 7, 8},
                                                {2, 5, 8, 1, 4, 7, 0, 3, 6},
                                                {8, 7, 6, 5, 4, 3, 2, 1, 0},
                                                {6, 3, 0, 7, 4, 1, 8, 5, 2}};
  const auto picture = [](const std::vector<int>& values) {
    std::vector<std::uint8_t> rgb;
    for (int v : values)
      for (int c : {0, 50, 100}) rgb.push_back(static_cast<std::uint8_t>(v + c));
    return rgb;
  };
  Augmenter augmenter;
  for (int quarters = 0; quarters < 4; ++quarters) {
    Augmentation what;
    what.quarter_turns = quarters;
    std::vector<std::uint8_t> rgb = picture(plain);
    augmenter.apply(what, rgb.data(), 3);
    EXPECT_EQ(rgb, picture(turned[static_cast<std::size_t>(quarters)])) << quarters;
  }
  Augmentation what;
  what.upside_down = true;
  std::vector<std::uint8_t> rgb = picture(plain);
  augmenter.apply(what, rgb.data(), 3);
  EXPECT_EQ(rgb, picture({6, 7, 8, 3, 4, 5, 0, 1, 2}));
  what.quarter_turns = 1;
  rgb = picture(plain);
  augmenter.apply(what, rgb.data(), 3);
  EXPECT_EQ(rgb, picture({8, 5, 2, 7, 4, 1, 6, 3, 0}));
}

// SAFE's RandomMask: a uniform part of the squares, all different; the rest stays as it is.
TEST(Augment, MasksWholeSquares) {
  AugmentOptions o;
  o.patch_mask = 0.5;
  constexpr std::uint32_t kDraws = 4000;
  constexpr Index kSize = 100, kSquares = 36;  // what does not fill a square is never masked
  double drawn = 0, masked = 0;
  std::vector<double> often(kSquares, 0);
  for (std::uint32_t i = 0; i < kDraws; ++i) {
    const Augmentation a = draw_augmentation(o, kSize, kSeed, 0, i);
    if (a.masked.empty()) continue;
    ++drawn;
    masked += static_cast<double>(a.masked.size());
    EXPECT_TRUE(std::ranges::is_sorted(a.masked));
    EXPECT_EQ(std::ranges::adjacent_find(a.masked), a.masked.end());
    ASSERT_LE(a.masked.size(), 0.75 * kSquares);
    for (const std::uint32_t square : a.masked) ++often.at(square);
  }
  // floor(u * 36), u uniform to .75, is 0 to 26, each as often; 0 masks nothing.
  const double some = 0.5 * 26 / 27;
  EXPECT_NEAR(drawn, kDraws * some, test::count_tolerance(kDraws, some));
  EXPECT_NEAR(masked / drawn, 13.5, test::sampling_tolerance(drawn, 26 * 26 / 12.0));
  const double each = masked / kSquares / kDraws;
  for (const double count : often)
    EXPECT_NEAR(count, kDraws * each, test::count_tolerance(kDraws, each));
  Augmentation what;
  what.masked = {0, 13};
  Image image = test::pattern(kSize, kSize);
  const Image before = image;
  Augmenter().apply(what, image.rgb.data(), kSize);
  for (Index y = 0; y < kSize; ++y)
    for (Index x = 0; x < kSize; ++x) {
      const auto at = static_cast<std::size_t>((y * kSize + x) * 3);
      const bool blank = (y < 16 && x < 16) || (y / 16 == 2 && x / 16 == 1);
      ASSERT_EQ(int{image.rgb[at]}, blank ? 124 : int{before.rgb[at]}) << y << " " << x;
    }
}

TEST(Augment, WebpIsApplied) {
  Image image = test::pattern(32, 32), changed = image;
  PerturbScratch scratch;
  webp_recompress({changed.rgb.data(), 32, 32}, 60, scratch);
  EXPECT_NE(image.rgb, changed.rgb);
  Augmentation what;
  what.webp_quality = 60;
  Augmenter().apply(what, image.rgb.data(), 32);
  EXPECT_EQ(image.rgb, changed.rgb);
  EXPECT_THROW(webp_recompress({changed.rgb.data(), 32, 32}, 0, scratch), UsageError);
}

TEST(Windows, LieAnywhereInsideEquallyOften) {
  constexpr std::uint32_t kDraws = 6000;
  std::map<Index, double> tops, lefts;
  for (std::uint32_t i = 0; i < kDraws; ++i) {
    const CropWindow w = draw_window(14, 7, 10, kSeed, 2, i);
    EXPECT_EQ(std::pair(w.h, w.w), std::pair(Index{10}, Index{10}));
    ++tops[w.top];
    ++lefts[w.left];
  }
  ASSERT_EQ(std::pair(tops.begin()->first, tops.rbegin()->first), std::pair(Index{0}, Index{4}));
  // A picture that is 3 too narrow lies at any of 4 places inside the window.
  ASSERT_EQ(std::pair(lefts.begin()->first, lefts.rbegin()->first), std::pair(Index{-3}, Index{0}));
  for (const auto& [at, count] : tops)
    EXPECT_NEAR(count, kDraws / 5.0, test::count_tolerance(kDraws, 0.2)) << at;
  for (const auto& [at, count] : lefts)
    EXPECT_NEAR(count, kDraws / 4.0, test::count_tolerance(kDraws, 0.25)) << at;
}

TEST(Augment, EveryOrderOfColoursIsEquallyLikely) {
  AugmentOptions o;
  o.color_jitter = {0.1, 0, 0, 0};
  constexpr std::uint32_t kDraws = 24000;
  std::map<std::array<int, 4>, double> counts;
  for (std::uint32_t i = 0; i < kDraws; ++i) ++counts[draw_augmentation(o, 8, kSeed, 0, i).order];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(count, kDraws / 24, test::count_tolerance(kDraws, 1.0 / 24));
  }
}

TEST(Augment, OneKindDoesNotDisturbAnother) {
  AugmentOptions jpeg;
  jpeg.jpeg_prob = 0.5;
  AugmentOptions all = jpeg;
  all.hflip = true;
  all.scale = {0.2, 0.9};
  all.color_jitter = {1, 1, 1, 0.5};
  all.blur_prob = all.downscale_prob = all.erase_prob = all.webp_prob = all.patch_mask = 0.7;
  all.vflip = all.rot90 = true;
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(draw_augmentation(jpeg, 64, kSeed, 1, i).jpeg_quality,
              draw_augmentation(all, 64, kSeed, 1, i).jpeg_quality);
  }
}

TEST(Augment, OffMeansUntouched) {
  const Image image = test::pattern(12, 12);
  Image same = image;
  Augmenter augmenter;
  EXPECT_FALSE(AugmentOptions{}.beyond_mirror());
  for (std::uint32_t i = 0; i < 20; ++i) {
    augmenter.apply(draw_augmentation({}, 12, kSeed, 0, i), same.rgb.data(), 12);
  }
  EXPECT_EQ(same.rgb, image.rgb);
}

TEST(Augment, RefusalsNameTheOption) {
  const auto refusal = [](auto change) {
    AugmentOptions o;
    change(o);
    return test::thrown_text([&] { o.validate(); });
  };
  const std::vector<std::pair<const char*, std::function<void(AugmentOptions&)>>> cases = {
      {"--scale",
       [](auto& o) {
         o.scale = {0, 1};
       }},
      {"--scale",
       [](auto& o) {
         o.scale = {0.5, 1.1};
       }},
      {"--ratio",
       [](auto& o) {
         o.ratio = {2, 1};
       }},
      {"--color-jitter", [](auto& o) { o.color_jitter[1] = -1; }},
      {"--color-jitter", [](auto& o) { o.color_jitter[3] = 0.6; }},
      {"--downscale-prob", [](auto& o) { o.downscale_prob = 1.5; }},
      {"--downscale",
       [](auto& o) {
         o.downscale = {0, 1};
       }},
      {"--blur-prob", [](auto& o) { o.blur_prob = std::nan(""); }},
      {"--blur-sig",
       [](auto& o) {
         o.blur_sigma = {-1, 1};
       }},
      {"--jpg-prob", [](auto& o) { o.jpeg_prob = -1; }},
      {"--jpg-qual",
       [](auto& o) {
         o.jpeg_quality = {0, 100};
       }},
      {"--webp-prob", [](auto& o) { o.webp_prob = -1; }},
      {"--webp-qual",
       [](auto& o) {
         o.webp_quality = {1, 101};
       }},
      {"--patch-mask", [](auto& o) { o.patch_mask = std::nan(""); }},
      {"--reprob", [](auto& o) { o.erase_prob = 2; }}};
  for (const auto& [name, change] : cases) {
    EXPECT_NE(refusal(change).find(name), std::string::npos) << refusal(change);
  }
}

}  // namespace
}  // namespace dfengine
