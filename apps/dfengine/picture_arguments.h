// Options about pictures that several commands share: how they are prepared and how they are
// varied.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "apps/dfengine/choice.h"
#include "engine/data/augment/augment.h"
#include "engine/data/pictures/prepare.h"

namespace dfengine {

// Adds --max-pixels.
CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels);
// --resize and --crop; `ResizeRule` and `Crop`, or std::optional of these.
template <class Resize, class Cut>
std::vector<CLI::Option*> add_resize(CLI::App& command, Resize& resize, Cut& crop) {
  return {add_choice(command, "--resize", resize,
                     "bilinear, bicubic (both antialiased) or nearest, as Pillow has them"),
          add_choice(command, "--crop", crop,
                     "none: resize to the square; center: resize by 256/224 and cut the middle")};
}

// The options of augmentation. Only those that the user gives change what a recipe says.
class AugmentArguments {
 public:
  std::vector<CLI::Option*> add_to(CLI::App& command);
  // The recipe with the user's changes. Throws UsageError for text that is not what an option
  // wants.
  AugmentOptions over(AugmentOptions recipe) const;

 private:
  using Apply = std::function<void(AugmentOptions&)>;

  void add(CLI::Option* option, Apply apply) { settings_.emplace_back(option, std::move(apply)); }

  bool hflip_ = true;
  double downscale_prob_ = 0, blur_prob_ = 0, jpeg_prob_ = 0, erase_prob_ = 0;
  std::string scale_, ratio_, color_jitter_, downscale_, blur_sigma_, jpeg_quality_;
  std::vector<std::pair<CLI::Option*, Apply>> settings_;
};

}  // namespace dfengine
