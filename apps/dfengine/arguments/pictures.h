// Options about pictures that several commands share: how they are prepared and how they are
// varied.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <vector>

#include "apps/dfengine/arguments/settings.h"
#include "engine/data/pictures/prepare.h"

namespace dfengine {

// Adds --max-pixels.
CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels);
// --resize and --crop; without values, what is not named is the model's own.
void add_resize(CLI::App& command, ResizeRule& resize, Crop& crop);
void add_resize(CLI::App& command, std::optional<ResizeRule>& resize, std::optional<Crop>& crop);

// The options of augmentation for a command that names `usual` as their defaults.
class AugmentArguments {
 public:
  void add_to(CLI::App& command, const AugmentOptions& usual);
  // Throws UsageError for values that make no sense.
  AugmentOptions values() const;

 private:
  AugmentOptions usual_;
  Settings<AugmentOption> given_;
};

}  // namespace dfengine
