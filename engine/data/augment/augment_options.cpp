// What a person may ask of augmentation: checks, JSON, words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/data/augment/augment.h"
#include "engine/data/option_json.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

bool is_probability(double p) {
  return p >= 0 && p <= 1;
}

bool lies_in(Range r, double low, double high) {
  return r.low >= low && r.high <= high && r.low <= r.high;
}

constexpr double kMostRatio = 100;
constexpr const char* kShare = "LOW,HIGH with 0 < LOW <= HIGH <= 1";
constexpr const char* kRatio = "LOW,HIGH with 0.01 <= LOW <= HIGH <= 100";
constexpr const char* kProbability = "from 0 to 1";

bool is_share(Range r) {
  return r.low > 0 && lies_in(r, 0, 1);
}

bool is_ratio(Range r) {
  return lies_in(r, 1 / kMostRatio, kMostRatio);
}

bool is_jitter(const std::array<double, 4>& strength) {
  for (std::size_t i = 0; i < 3; ++i)
    if (!(strength[i] >= 0 && strength[i] <= 10)) return false;
  return strength[3] >= 0 && strength[3] <= 0.5;
}

using Options = AugmentOptions;
constexpr AugmentOption kRows[] = {
    {.flag = "--hflip,!--no-hflip",
     .key = "hflip",
     .place = &Options::hflip,
     .help = "Mirror half of the pictures, drawn at random."},
    {.flag = "--vflip,!--no-vflip",
     .key = "vflip",
     .place = &Options::vflip,
     .help = "Turn half of the pictures upside down.",
     .added_later = true},
    {.flag = "--rot90,!--no-rot90",
     .key = "rot90",
     .place = &Options::rot90,
     .help = "Turn pictures by 0, 90, 180 or 270 degrees, each as often.",
     .added_later = true},
    {.flag = "--scale",
     .key = "scale",
     .place = &Options::scale,
     .help = "Random resized crop: the share of the picture's area that is kept.",
     .allowed = kShare,
     .accepts = [](const Options& o) { return is_share(o.scale); },
     .usual = "1,1, which crops nothing"},
    {.flag = "--ratio",
     .key = "ratio",
     .place = &Options::ratio,
     .help = "Width to height of what --scale keeps.",
     .allowed = kRatio,
     .accepts = [](const Options& o) { return is_ratio(o.ratio); },
     .usual = "3/4,4/3",
     .partner = "--scale",
     .has_partner =
         [](const Options& o) {
           return o.scale != Range{1, 1};
         }},
    {.flag = "--color-jitter",
     .key = "color_jitter",
     .place = &Options::color_jitter,
     .help = "How strongly colours change at random: BRIGHTNESS,CONTRAST,SATURATION,HUE, or the "
             "first three, or one number for these three.",
     .allowed = "from 0 to 10, the hue from 0 to 0.5",
     .accepts = [](const Options& o) { return is_jitter(o.color_jitter); }},
    {.flag = "--downscale-prob",
     .key = "downscale_prob",
     .place = &Options::downscale_prob,
     .help = "The chance that a picture is made smaller and large again.",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.downscale_prob); }},
    {.flag = "--downscale",
     .key = "downscale",
     .place = &Options::downscale,
     .help = "How much smaller: the factor of the side.",
     .allowed = kShare,
     .accepts = [](const Options& o) { return is_share(o.downscale); },
     .partner = "--downscale-prob",
     .has_partner = [](const Options& o) { return o.downscale_prob > 0; }},
    {.flag = "--blur-prob",
     .key = "blur_prob",
     .place = &Options::blur_prob,
     .help = "The chance of a Gaussian blur.",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.blur_prob); }},
    {.flag = "--blur-sig",
     .key = "blur_sig",
     .place = &Options::blur_sigma,
     .help = "The standard deviation of the blur in pixels.",
     .allowed = "LOW,HIGH with 0 <= LOW <= HIGH <= 20",
     .accepts = [](const Options& o) { return lies_in(o.blur_sigma, 0, 20); },
     .partner = "--blur-prob",
     .has_partner = [](const Options& o) { return o.blur_prob > 0; }},
    {.flag = "--jpg-prob",
     .key = "jpg_prob",
     .place = &Options::jpeg_prob,
     .help = "The chance of JPEG compression.",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.jpeg_prob); }},
    {.flag = "--jpg-qual",
     .key = "jpg_qual",
     .place = &Options::jpeg_quality,
     .help = "The quality of that compression.",
     .allowed = "LOW,HIGH with 1 <= LOW <= HIGH <= 100",
     .accepts = [](const Options& o) { return lies_in(o.jpeg_quality, 1, 100); },
     .partner = "--jpg-prob",
     .has_partner = [](const Options& o) { return o.jpeg_prob > 0; }},
    {.flag = "--webp-prob",
     .key = "webp_prob",
     .place = &Options::webp_prob,
     .help = "The chance of WebP compression.",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.webp_prob); },
     .added_later = true},
    {.flag = "--webp-qual",
     .key = "webp_qual",
     .place = &Options::webp_quality,
     .help = "The quality of that compression.",
     .allowed = "LOW,HIGH with 1 <= LOW <= HIGH <= 100",
     .accepts = [](const Options& o) { return lies_in(o.webp_quality, 1, 100); },
     .added_later = true,
     .partner = "--webp-prob",
     .has_partner = [](const Options& o) { return o.webp_prob > 0; }},
    {.flag = "--patch-mask",
     .key = "patch_mask",
     .place = &Options::patch_mask,
     .help = "The chance that squares of 16 pixels are blanked, up to three quarters of them.",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.patch_mask); },
     .added_later = true},
    {.flag = "--reprob",
     .key = "reprob",
     .place = &Options::erase_prob,
     .help = "The chance that a rectangle of 2 to 33 % of the area is erased (cutout).",
     .allowed = kProbability,
     .accepts = [](const Options& o) { return is_probability(o.erase_prob); }},
    {.key = "erase_scale",
     .place = &Options::erase_scale,
     .allowed = kShare,
     .accepts = [](const Options& o) { return is_share(o.erase_scale); }},
    {.key = "erase_ratio",
     .place = &Options::erase_ratio,
     .allowed = kRatio,
     .accepts = [](const Options& o) { return is_ratio(o.erase_ratio); }}};

}  // namespace

void to_json(nlohmann::json& json, const Range& range) {
  json = {range.low, range.high};
}

void from_json(const nlohmann::json& json, Range& range) {
  range = {json.at(0).get<double>(), json.at(1).get<double>()};
}

std::span<const AugmentOption> augment_options() {
  return kRows;
}

bool AugmentOptions::beyond_mirror() const {
  return scale != Range{1, 1} || color_jitter != std::array<double, 4>{} || downscale_prob > 0 ||
         blur_prob > 0 || jpeg_prob > 0 || erase_prob > 0 || vflip || rot90 || webp_prob > 0 ||
         patch_mask > 0;
}

void AugmentOptions::validate() const {
  check_options(kRows, *this);
}

void to_json(nlohmann::json& json, const AugmentOptions& options) {
  write_options(kRows, options, json);
}

void from_json(const nlohmann::json& json, AugmentOptions& options) {
  read_options(kRows, json, options);
}

std::string describe(const AugmentOptions& o) {
  std::vector<std::string> parts;
  const auto add = [&parts](bool on, std::string text) {
    if (on) parts.push_back(std::move(text));
  };
  const auto range = [](Range r) { return fmt::format("{:g}-{:g}", r.low, r.high); };
  add(o.scale != Range{1, 1}, "random resized crop of " + range(o.scale) + " of the area");
  add(o.hflip, "mirror");
  add(o.vflip, "upside down");
  add(o.rot90, "quarter turns");
  add(o.color_jitter != std::array<double, 4>{},
      fmt::format("color jitter {:g}", fmt::join(o.color_jitter, " ")));
  add(o.downscale_prob > 0,
      fmt::format("downscale {} (p {:g})", range(o.downscale), o.downscale_prob));
  add(o.blur_prob > 0, fmt::format("blur {} px (p {:g})", range(o.blur_sigma), o.blur_prob));
  add(o.jpeg_prob > 0, fmt::format("JPEG {} (p {:g})", range(o.jpeg_quality), o.jpeg_prob));
  add(o.webp_prob > 0, fmt::format("WebP {} (p {:g})", range(o.webp_quality), o.webp_prob));
  add(o.patch_mask > 0, fmt::format("masked squares (p {:g})", o.patch_mask));
  add(o.erase_prob > 0, fmt::format("random erasing (p {:g})", o.erase_prob));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace dfengine
