// The names of the files that hold the overlays of many pictures.
#pragma once

#include <filesystem>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// Gives each picture a PNG file: FOLDER/STEM.png, or STEM-2.png, STEM-3.png ... where pictures from
// different folders share their name. Throws UsageError where such a file is one of the pictures.
std::vector<std::filesystem::path> overlay_files(
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& pictures);

}  // namespace dfengine
