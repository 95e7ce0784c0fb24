// Which files of a folder are pictures, and what is passed over.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// What lay among pictures and is none: how many of each kind, such as "._*" or ".txt".
using PassedOver = std::map<std::string, Index>;

// The kind of a file or folder that systems and editors leave behind, and that is passed over
// whatever it holds: hidden ones, Thumbs.db, __MACOSX, backups, unfinished downloads. "" for every other name.
std::string leftover_kind(std::string_view name);

// The kind of a file that is no picture, by its ending: ".txt".
std::string other_kind(const std::filesystem::path& file);

// jpg jpeg jpe jfif png webp bmp, in any case.
bool has_picture_ending(const std::filesystem::path& name);

// Whether a file is a picture, readable or not. Those endings are taken at their word, for
// reading the file will tell; of others the first bytes decide.
bool is_picture(const std::filesystem::path& file);

// The pictures below a folder one after the other, sorted by path. It holds the names in the folders on
// the way and no more. Throws DataError where a folder cannot be listed.
class FolderWalk {
 public:
  explicit FolderWalk(const std::filesystem::path& folder) { enter(folder); }
  // Counts what is no picture in passed_over. Nothing after the last one.
  std::optional<std::filesystem::path> next(PassedOver& passed_over);
  // About how much of the walk is done, from 0 to 1.
  double share() const;

 private:
  struct Level {
    std::filesystem::path folder;
    std::vector<std::string> names;
    std::size_t next = 0;
  };
  void enter(const std::filesystem::path& folder);
  std::vector<Level> levels_;
};

// Text for people: "passed over: 3 .txt, 48 ._*"; "" for nothing.
std::string describe(const PassedOver& passed_over);

}  // namespace dfengine
