#include "engine/data/sets/listing.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <span>
#include <utility>

#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/sets/class_names.h"

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

std::string leftover_kind_in(std::string_view path) {
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    const bool folder = part.size() < path.size();
    path.remove_prefix(part.size() + (folder ? 1 : 0));
    if (part == "." || part == "..") continue;
    if (const std::string kind = leftover_kind(part); !kind.empty())
      return folder ? kind + "/" : kind;
  }
  return "";
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

bool FolderWalk::is_new(const std::filesystem::path& folder) {
  struct stat info;
  if (::stat(folder.c_str(), &info) != 0) return true;  // entering it will fail
  return seen_.emplace(info.st_dev, info.st_ino).second;
}

bool FolderWalk::enter(const std::filesystem::path& folder) {
  Level level{folder, {}};
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error))
    level.names.push_back(it->path().filename().string());
  if (error) return false;
  std::ranges::sort(level.names);
  levels_.push_back(std::move(level));
  return true;
}

std::optional<std::filesystem::path> FolderWalk::next(PassedOver& passed_over) {
  for (;;) {
    std::optional<std::filesystem::path> folder = std::exchange(start_, std::nullopt);
    if (!folder && levels_.empty() && !links_.empty()) {
      folder = links_.extract(links_.begin()).value();
      in_links_ = true;
    }
    if (folder && !is_new(*folder)) {
      ++passed_over["links to folders listed already"];
    } else if (folder) {
      if (!enter(*folder)) return folder;
    } else if (levels_.empty()) {
      return std::nullopt;
    } else if (auto found = step(passed_over)) {
      return found;
    }
  }
}

std::optional<std::filesystem::path> FolderWalk::step(PassedOver& passed_over) {
  Level& level = levels_.back();
  if (level.next == level.names.size()) {
    levels_.pop_back();
    return std::nullopt;
  }
  const std::string& name = level.names[level.next++];
  std::filesystem::path path = level.folder / name;
  const std::string kind = leftover_kind(name);
  std::error_code unreadable;
  const bool folder = std::filesystem::is_directory(path, unreadable);
  if (!kind.empty()) {
    ++passed_over[folder ? kind + "/" : kind];
  } else if (folder && std::filesystem::is_symlink(path, unreadable)) {
    links_.insert(std::move(path));
  } else if (folder) {
    start_ = std::move(path);
  } else if (is_picture(path)) {
    // Whatever else it is, such as a link that leads nowhere, reading it will tell.
    return path;
  } else {
    ++passed_over[other_kind(path)];
  }
  return std::nullopt;
}

double FolderWalk::share() const {
  double share = 1;
  if (in_links_) return share;
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
