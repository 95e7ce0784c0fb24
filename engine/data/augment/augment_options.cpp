// What a person may ask of augmentation: checks, JSON, words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/data/augment/augment.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

void require(bool ok, const char* message) {
  if (!ok) throw UsageError(message);
}

bool is_probability(double p) {
  return p >= 0 && p <= 1;
}

bool lies_in(Range r, double low, double high) {
  return r.low >= low && r.high <= high && r.low <= r.high;
}

nlohmann::json pair(Range r) {
  return {r.low, r.high};
}

Range range_at(const nlohmann::json& json, const char* key) {
  return {json.at(key).at(0).get<double>(), json.at(key).at(1).get<double>()};
}

}  // namespace

bool AugmentOptions::beyond_mirror() const {
  return scale != Range{1, 1} || color_jitter != std::array<double, 4>{} || downscale_prob > 0 ||
         blur_prob > 0 || jpeg_prob > 0 || erase_prob > 0;
}

void AugmentOptions::validate() const {
  constexpr double kMostRatio = 100;
  require(scale.low > 0 && lies_in(scale, 0, 1), "--scale: 0 < LOW <= HIGH <= 1");
  require(lies_in(ratio, 1 / kMostRatio, kMostRatio), "--ratio: .01 <= LOW <= HIGH <= 100");
  for (std::size_t i = 0; i < 3; ++i) {
    require(color_jitter[i] >= 0 && color_jitter[i] <= 10,
            "--color-jitter: brightness, contrast and saturation must be from 0 to 10");
  }
  require(color_jitter[3] >= 0 && color_jitter[3] <= 0.5, "--color-jitter: hue is from 0 to 0.5");
  require(is_probability(downscale_prob), "--downscale-prob must be from 0 to 1");
  require(downscale.low > 0 && lies_in(downscale, 0, 1), "--downscale: 0 < LOW <= HIGH <= 1");
  require(is_probability(blur_prob), "--blur-prob must be from 0 to 1");
  require(lies_in(blur_sigma, 0, 20), "--blur-sig: 0 <= LOW <= HIGH <= 20 pixels");
  require(is_probability(jpeg_prob), "--jpg-prob must be from 0 to 1");
  require(lies_in(jpeg_quality, 1, 100), "--jpg-qual: 1 <= LOW <= HIGH <= 100");
  require(is_probability(erase_prob), "--reprob must be from 0 to 1");
  require(erase_scale.low > 0 && lies_in(erase_scale, 0, 1), "erased part: 0 < low <= high <= 1");
  require(lies_in(erase_ratio, 1 / kMostRatio, kMostRatio), "erased ratio: .01 to 100");
}

nlohmann::json to_json(const AugmentOptions& o) {
  return {{"hflip", o.hflip},
          {"scale", pair(o.scale)},
          {"ratio", pair(o.ratio)},
          {"color_jitter", o.color_jitter},
          {"downscale_prob", o.downscale_prob},
          {"downscale", pair(o.downscale)},
          {"blur_prob", o.blur_prob},
          {"blur_sig", pair(o.blur_sigma)},
          {"jpg_prob", o.jpeg_prob},
          {"jpg_qual", pair(o.jpeg_quality)},
          {"reprob", o.erase_prob},
          {"erase_scale", pair(o.erase_scale)},
          {"erase_ratio", pair(o.erase_ratio)}};
}

AugmentOptions augment_options_from_json(const nlohmann::json& j) {
  AugmentOptions o;
  j.at("hflip").get_to(o.hflip);
  o.scale = range_at(j, "scale");
  o.ratio = range_at(j, "ratio");
  j.at("color_jitter").get_to(o.color_jitter);
  j.at("downscale_prob").get_to(o.downscale_prob);
  o.downscale = range_at(j, "downscale");
  j.at("blur_prob").get_to(o.blur_prob);
  o.blur_sigma = range_at(j, "blur_sig");
  j.at("jpg_prob").get_to(o.jpeg_prob);
  o.jpeg_quality = range_at(j, "jpg_qual");
  j.at("reprob").get_to(o.erase_prob);
  o.erase_scale = range_at(j, "erase_scale");
  o.erase_ratio = range_at(j, "erase_ratio");
  return o;
}

std::string describe(const AugmentOptions& o) {
  std::vector<std::string> parts;
  const auto add = [&parts](bool on, std::string text) {
    if (on) parts.push_back(std::move(text));
  };
  const auto range = [](Range r) { return fmt::format("{:g}-{:g}", r.low, r.high); };
  add(o.scale != Range{1, 1}, "random resized crop of " + range(o.scale) + " of the area");
  add(o.hflip, "mirror");
  add(o.color_jitter != std::array<double, 4>{},
      fmt::format("color jitter {:g}", fmt::join(o.color_jitter, " ")));
  add(o.downscale_prob > 0,
      fmt::format("downscale {} (p {:g})", range(o.downscale), o.downscale_prob));
  add(o.blur_prob > 0, fmt::format("blur {} px (p {:g})", range(o.blur_sigma), o.blur_prob));
  add(o.jpeg_prob > 0, fmt::format("JPEG {} (p {:g})", range(o.jpeg_quality), o.jpeg_prob));
  add(o.erase_prob > 0, fmt::format("random erasing (p {:g})", o.erase_prob));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace dfengine
