// Which files of a folder are pictures, and what is passed over.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "kernels/base/shape.h"

namespace dfengine {

// What lay among pictures and is none: how many of each kind, such as "._*" or ".txt".
using PassedOver = std::map<std::string, Index>;

// The kind of a file or folder that systems and editors leave behind, and that is passed over
// whatever it holds: hidden ones, Thumbs.db, __MACOSX, backups, unfinished downloads. "" for every other name.
std::string leftover_kind(std::string_view name);

// The kind of a file that is no picture, by its ending: ".txt".
std::string other_kind(const std::filesystem::path& file);

// Whether a file is a picture, readable or not. The usual endings (jpg jpeg jpe jfif png webp bmp, in
// any case) are taken at their word, for reading the file will tell; of others the first bytes
// decide.
bool is_picture(const std::filesystem::path& file);

// Text for people: "passed over: 3 .txt, 48 ._*"; "" for nothing.
std::string describe(const PassedOver& passed_over);

}  // namespace dfengine
