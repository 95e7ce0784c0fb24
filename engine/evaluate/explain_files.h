// Overlays of many pictures as files.
#pragma once

#include <filesystem>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// A PNG file for each picture: FOLDER/STEM.png, or STEM-2.png, STEM-3.png ... where pictures from
// different folders share their name.
std::vector<std::filesystem::path> overlay_files(
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& pictures);

}  // namespace dfengine
