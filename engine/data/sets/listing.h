// Which files of a folder are pictures, and what is passed over.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// What lay among pictures and is none: how many of each kind, such as "._*" or ".txt".
using PassedOver = std::map<std::string, Index>;

// The kind of a file or folder that systems and editors leave behind, and that is passed over
// whatever it holds: hidden ones, Thumbs.db, __MACOSX, backups, unfinished downloads. "" for every
// other name.
std::string leftover_kind(std::string_view name);

// The same of a path inside of a tar, by the first of its parts that has a kind. That of a folder
// ends in a slash.
std::string leftover_kind_in(std::string_view path);

// The kind of a file that is no picture, by its ending: ".txt".
std::string other_kind(const std::filesystem::path& file);

// jpg jpeg jpe jfif png webp bmp, in any case.
bool has_picture_ending(const std::filesystem::path& name);

// Whether a file is a picture, readable or not. Those endings are taken at their word, for
// reading the file will tell; of others the first bytes decide.
bool is_picture(const std::filesystem::path& file);

// The pictures below a folder one after the other, sorted by path, and then those below links to
// folders that it has not been in yet. It holds the names in the folders on the way, and which
// these were. A folder that cannot be listed is given like a picture: reading it says why.
class FolderWalk {
 public:
  explicit FolderWalk(std::filesystem::path folder) : start_(std::move(folder)) {}
  // Counts what is no picture in passed_over. Nothing after the last one.
  std::optional<std::filesystem::path> next(PassedOver& passed_over);
  // About how much of the walk is done, from 0 to 1; links, of which nobody knows where they lead,
  // do not count.
  double share() const;

 private:
  struct Level {
    std::filesystem::path folder;
    std::vector<std::string> names;
    std::size_t next = 0;
  };
  bool is_new(const std::filesystem::path& folder);
  // Whether it can be listed.
  bool enter(const std::filesystem::path& folder);
  // Takes up one name; gives it where it is a picture.
  std::optional<std::filesystem::path> step(PassedOver& passed_over);

  std::optional<std::filesystem::path> start_;  // the folder to enter next
  std::vector<Level> levels_;
  std::set<std::filesystem::path> links_;  // to folders
  std::set<std::pair<dev_t, ino_t>> seen_;
  bool in_links_ = false;
};

// Text for people: "passed over: 3 .txt, 48 ._*"; "" for nothing.
std::string describe(const PassedOver& passed_over);

}  // namespace dfengine
