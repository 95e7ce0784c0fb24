#include "engine/data/sets/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <span>

#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/sets/class_names.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr std::array kEndings = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"};

// In lower case.
constexpr std::array kLeftovers = {
    "thumbs.db", "ehthumbs.db",  "desktop.ini", "__macosx",    "@eadir",
    "#recycle",  "$recycle.bin", "lost+found",  "__pycache__", "system volume information"};

// Copies that editors keep, and downloads that did not end.
constexpr std::string_view kUnfinished[] = {".bak", ".orig", ".swp", ".part", ".crdownload"};

}  // namespace

std::string leftover_kind(std::string_view name) {
  if (name.starts_with("._")) return "._*";
  if (name == ".DS_Store" || name == ".ipynb_checkpoints") return std::string(name);
  if (name.starts_with(".")) return "hidden";
  if (name.ends_with("~") || (name.starts_with("#") && name.ends_with("#"))) return "backup";
  const std::string lower = lower_case(name);
  for (const std::string_view ending : kUnfinished)
    if (lower.ends_with(ending)) return std::string(ending);
  return std::ranges::count(kLeftovers, lower) > 0 ? std::string(name) : "";
}

std::string other_kind(const std::filesystem::path& file) {
  const std::string ending = lower_case(file.extension().string());
  return ending.empty() ? "without an ending" : ending;
}

bool has_picture_ending(const std::filesystem::path& name) {
  return std::ranges::count(kEndings, lower_case(name.extension().string())) > 0;
}

bool is_picture(const std::filesystem::path& file) {
  if (has_picture_ending(file)) return true;
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return false;  // a pipe would wait
  std::array<char, kFormatBytes> bytes{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(bytes.data(), bytes.size());
  const auto got = static_cast<std::size_t>(stream.gcount());
  return file_format(std::as_bytes(std::span(bytes).first(got))).kind != FileFormat::Kind::Other;
}

void FolderWalk::enter(const std::filesystem::path& folder) try {
  Level level{folder, {}};
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(folder))
    level.names.push_back(entry.path().filename().string());
  std::ranges::sort(level.names);
  levels_.push_back(std::move(level));
} catch (const std::filesystem::filesystem_error& e) {
  throw DataError("cannot list " + e.path1().string() + ": " + e.code().message());
}

std::optional<std::filesystem::path> FolderWalk::next(PassedOver& passed_over) {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.next == level.names.size()) {
      levels_.pop_back();
      continue;
    }
    const std::string& name = level.names[level.next++];
    std::filesystem::path path = level.folder / name;
    const std::string kind = leftover_kind(name);
    std::error_code unreadable;
    const bool folder = std::filesystem::is_directory(path, unreadable);
    if (!kind.empty()) {
      ++passed_over[folder ? kind + "/" : kind];
    } else if (folder) {
      // A link to a folder may lead back here.
      if (!std::filesystem::is_symlink(path, unreadable)) enter(path);
    } else if (is_picture(path)) {
      // Whatever else it is, such as a link that leads nowhere, reading it will tell.
      return path;
    } else {
      ++passed_over[other_kind(path)];
    }
  }
  return std::nullopt;
}

double FolderWalk::share() const {
  double share = 1;
  for (std::size_t i = levels_.size(); i-- > 0;) {
    const auto names = static_cast<double>(levels_[i].names.size());
    const bool inside = i + 1 < levels_.size();
    share =
        (static_cast<double>(levels_[i].next) - (inside ? 1 - share : 0)) / std::max(names, 1.0);
  }
  return share;
}

std::string describe(const PassedOver& passed_over) {
  std::string text;
  for (const auto& [kind, count] : passed_over)
    text += fmt::format("{}{} {}", text.empty() ? "passed over: " : ", ", count, kind);
  return text;
}

}  // namespace dfengine
