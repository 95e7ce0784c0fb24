#include "apps/dfengine/picture_arguments.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// "0.5,1" as numbers.
std::vector<double> numbers(const char* option, const std::string& text) {
  std::vector<double> values;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    double value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next != end && *next != ',')) {
      throw UsageError(fmt::format("{} '{}': numbers separated by commas", option, text));
    }
    values.push_back(value);
    if (next == end) return values;
    at = next + 1;
  }
}

Range range(const char* option, const std::string& text) {
  const std::vector<double> values = numbers(option, text);
  if (values.size() > 2) throw UsageError(fmt::format("{} '{}': LOW,HIGH", option, text));
  return {values.front(), values.back()};
}

// One number stands for brightness, contrast and saturation, as in timm.
std::array<double, 4> jitter(const std::string& text) {
  const std::vector<double> values = numbers("--color-jitter", text);
  if (values.size() == 1) return {values[0], values[0], values[0], 0};
  if (values.size() == 3) return {values[0], values[1], values[2], 0};
  if (values.size() == 4) return {values[0], values[1], values[2], values[3]};
  throw UsageError(fmt::format("--color-jitter '{}': one, three or four numbers", text));
}

}  // namespace

CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels) {
  return command
      .add_option("--max-pixels", max_pixels,
                  "Pictures of more pixels are bad files: guards memory against false headers")
      ->check(CLI::Range(Index{1}, Index{1} << 30))
      ->capture_default_str();
}

std::vector<CLI::Option*> AugmentArguments::add_to(CLI::App& c) {
  const std::string on_square = " (all changes act on the prepared square picture)";
  add(c.add_flag("--hflip,!--no-hflip", hflip_, "Mirror half of the pictures at random"),
      [this](AugmentOptions& o) { o.hflip = hflip_; });
  add(c.add_option("--scale", scale_,
                   "LOW,HIGH: random resized crop, part of the area kept" + on_square),
      [this](AugmentOptions& o) { o.scale = range("--scale", scale_); });
  add(c.add_option("--ratio", ratio_, "LOW,HIGH: width to height of that crop (0.75,1.33)"),
      [this](AugmentOptions& o) { o.ratio = range("--ratio", ratio_); });
  add(c.add_option("--color-jitter", color_jitter_,
                   "S, or BRIGHTNESS,CONTRAST,SATURATION[,HUE]: strength of random colours"),
      [this](AugmentOptions& o) { o.color_jitter = jitter(color_jitter_); });
  add(c.add_option("--downscale-prob", downscale_prob_, "Chance of a resize down and up again"),
      [this](AugmentOptions& o) { o.downscale_prob = downscale_prob_; });
  add(c.add_option("--downscale", downscale_, "LOW,HIGH: factor of that resize (0.5,1)"),
      [this](AugmentOptions& o) { o.downscale = range("--downscale", downscale_); });
  add(c.add_option("--blur-prob", blur_prob_, "Chance of a Gaussian blur"),
      [this](AugmentOptions& o) { o.blur_prob = blur_prob_; });
  add(c.add_option("--blur-sig", blur_sigma_, "LOW,HIGH: its sigma in pixels (0,3)"),
      [this](AugmentOptions& o) { o.blur_sigma = range("--blur-sig", blur_sigma_); });
  add(c.add_option("--jpg-prob", jpeg_prob_, "Chance of JPEG compression"),
      [this](AugmentOptions& o) { o.jpeg_prob = jpeg_prob_; });
  add(c.add_option("--jpg-qual", jpeg_quality_, "LOW,HIGH: its quality (30,100)"),
      [this](AugmentOptions& o) { o.jpeg_quality = range("--jpg-qual", jpeg_quality_); });
  add(c.add_option("--reprob", erase_prob_,
                   "Chance that a rectangle of 2 to 33 % of the area is erased (cutout)"),
      [this](AugmentOptions& o) { o.erase_prob = erase_prob_; });
  std::vector<CLI::Option*> options;
  for (const auto& [option, apply] : settings_) options.push_back(option);
  return options;
}

AugmentOptions AugmentArguments::over(AugmentOptions options) const {
  for (const auto& [option, apply] : settings_)
    if (option->count() > 0) apply(options);
  options.validate();
  return options;
}

}  // namespace dfengine
