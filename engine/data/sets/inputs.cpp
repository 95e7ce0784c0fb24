#include "engine/data/sets/inputs.h"

#include <fmt/format.h>

#include <iostream>
#include <string_view>
#include <utility>

#include "engine/data/pack.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

bool is_container(const std::filesystem::path& path) {
  return is_tar(path) || is_pack(path);
}

}  // namespace

std::string InputShard::describe() const {
  if (!container.empty()) return container.string();
  return fmt::format("{} files from {} on", files.size(), files.front().string());
}

InputReader::InputReader(const std::vector<std::filesystem::path>& paths) {
  for (const std::filesystem::path& path : paths) take(path.string());
  given_ = paths_.size();
}

// What a path stands for; a file may be called like a pattern.
void InputReader::take(const std::string& path) {
  std::error_code none;
  if (path.find('{') == path.npos || std::filesystem::exists(path, none)) {
    paths_.emplace_back(path);
  } else {
    for (std::string& name : expand_braces(path)) paths_.emplace_back(std::move(name));
  }
}

InputReader::InputReader(const std::filesystem::path& list) : list_(list.string()) {
  if (list == "-") {
    stream_ = &std::cin;
    list_ = "standard input";
    return;
  }
  std::error_code none;
  file_.open(list, std::ios::binary);
  if (!file_ || std::filesystem::is_directory(list, none))
    throw DataError(list_ + ": the list cannot be opened; it has a path a line");
  list_bytes_ = static_cast<double>(std::filesystem::file_size(list, none));
  stream_ = &file_;
}

// The next path as it was given.
std::optional<std::filesystem::path> InputReader::next_name() {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  for (std::string line; paths_.empty() && stream_ != nullptr && std::getline(*stream_, line);) {
    if (std::exchange(at_begin_, false) && line.starts_with(kByteOrderMark))
      line.erase(0, kByteOrderMark.size());
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) take(line);
  }
  if (stream_ != nullptr && stream_->bad()) throw DataError(list_ + ": the list cannot be read");
  if (paths_.empty()) return std::nullopt;
  std::filesystem::path path = std::move(paths_.front());
  paths_.pop_front();
  return path;
}

// The next picture, tar or packed file.
std::optional<std::filesystem::path> InputReader::next_path() {
  for (;;) {
    if (walk_) {
      if (auto picture = walk_->next(*passed_over_)) return picture;
      walk_.reset();
    }
    std::optional<std::filesystem::path> path = next_name();
    std::error_code unreadable;
    // A path that does not exist goes on, so that reading it reports it.
    if (!path || !std::filesystem::is_directory(*path, unreadable)) return path;
    walk_.emplace(*path);
  }
}

double InputReader::share() {
  if (stream_ == nullptr) {
    const auto rest = static_cast<double>(paths_.size()) + (walk_ ? 1 - walk_->share() : 0);
    return 1 - rest / static_cast<double>(std::max(given_, std::size_t{1}));
  }
  if (list_bytes_ <= 0) return 0;
  const auto at = static_cast<double>(file_.tellg());
  return at < 0 ? 1 : at / list_bytes_;
}

InputShard InputReader::numbered(InputShard shard) {
  shard.number = number_++;
  shard.share = share();
  shard.passed_over = passed_over_;
  return shard;
}

std::optional<InputShard> InputReader::next() {
  InputShard shard;
  shard.container.swap(container_);
  if (!shard.container.empty()) return numbered(std::move(shard));
  while (shard.files.size() < InputShard::kMost) {
    std::optional<std::filesystem::path> path = next_path();
    if (!path) break;
    if (!is_container(*path)) {
      shard.files.push_back(std::move(*path));
    } else if (shard.files.empty()) {
      shard.container = std::move(*path);
      return numbered(std::move(shard));
    } else {
      container_ = std::move(*path);
      break;
    }
  }
  if (shard.files.empty()) return std::nullopt;
  return numbered(std::move(shard));
}

Dataset open_shard(const InputShard& shard) {
  Dataset all;
  const auto inside = [&](const std::string& name) {
    return shard.container.string() + "/" + name;
  };
  if (is_pack(shard.container)) {
    for (Dataset& split : open_pack(shard.container, {})) {
      all.pack = split.pack;
      for (Sample& sample : split.samples) {
        sample.relative = inside(sample.relative);
        all.samples.push_back(std::move(sample));
      }
    }
  } else if (!shard.container.empty()) {
    std::vector<TarFile> files;
    files.emplace_back(shard.container);
    all.tars = std::make_shared<const TarShards>(std::move(files));
    const std::vector<TarEntry>& entries = all.tars->files()[0].entries();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string& name = entries[i].name;
      if (const std::string kind = leftover_kind_in(name); !kind.empty()) {
        if (shard.passed_over) ++(*shard.passed_over)[kind];
      } else if (has_picture_ending(name)) {
        all.samples.push_back({.relative = inside(name), .record = TarShards::record(0, i)});
      }
    }
  } else {
    for (const std::filesystem::path& file : shard.files)
      all.samples.push_back({.relative = file.string()});
  }
  return all;
}

}  // namespace dfengine
