// Options about pictures that several commands share: how they are prepared and how they are
// varied.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "engine/data/augment/augment.h"
#include "engine/data/pictures/prepare.h"

namespace dfengine {

// Adds --max-pixels.
CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels);
// --resize and --crop; without values, what is not named is the model's own.
void add_resize(CLI::App& command, ResizeRule& resize, Crop& crop);
void add_resize(CLI::App& command, std::optional<ResizeRule>& resize, std::optional<Crop>& crop);

// The options of augmentation, whose defaults stand in `options`.
void add_augment(CLI::App& command, AugmentOptions& options);

}  // namespace dfengine
