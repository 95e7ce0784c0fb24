#include "engine/data/sets/inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/data/pack.h"
#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/sets/tar_source.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

bool is_container(const std::filesystem::path& path) {
  return is_tar(path) || is_pack(path);
}

UniqueFd open_list(const std::filesystem::path& list) {
  if (list == "-") return UniqueFd(::dup(STDIN_FILENO));
  return UniqueFd(::open(list.c_str(), O_RDONLY | O_CLOEXEC));
}

constexpr const char* kNotAList = ": name it without --input, which takes a list of paths";

}  // namespace

NameList::NameList(const std::filesystem::path& list)
    : name_(list == "-" ? "standard input" : list.string()), fd_(open_list(list)) {
  std::error_code none;
  const bool named = list != "-";
  if (!fd_ || (named && std::filesystem::is_directory(list, none)))
    throw DataError(name_ + ": the list cannot be opened; it has a path a line");
  if (is_container(list)) throw DataError(name_ + " holds pictures" + kNotAList);
  if (named && std::filesystem::is_regular_file(list, none))
    bytes_ = static_cast<double>(std::filesystem::file_size(list, none));
}

bool NameList::fill() {
  constexpr std::size_t kMost = 65536;
  const bool first = read_ == 0;
  buffer_.resize(kMost);
  ssize_t n = 0;
  do n = ::read(fd_.get(), buffer_.data(), kMost);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    throw DataError(name_ + ": the list cannot be read: " + std::generic_category().message(errno));
  buffer_.resize(static_cast<std::size_t>(n));
  at_ = 0;
  read_ += static_cast<double>(n);
  if (first) look_at_first_bytes();
  return n > 0;
}

void NameList::look_at_first_bytes() {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (file_format(std::as_bytes(std::span(buffer_))).kind != FileFormat::Kind::Other)
    throw DataError(name_ + " is a picture" + kNotAList);
  if (buffer_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  if (buffer_.find('\0') != buffer_.npos) end_ = '\0';
}

std::optional<std::string> NameList::next() {
  for (;;) {
    std::string name;
    bool ended = false;
    while (!ended && (at_ < buffer_.size() || fill())) {
      const std::size_t end = buffer_.find(end_, at_);
      ended = end != buffer_.npos;
      name.append(buffer_, at_, ended ? end - at_ : end);
      at_ = ended ? end + 1 : buffer_.size();
    }
    if (end_ == '\n' && name.ends_with('\r')) name.pop_back();
    if (name.find('\0') != name.npos)
      throw DataError(name_ +
                      ": a NUL byte in a line: the list has a path a line, or from the first "
                      "path on a NUL byte behind each");
    if (!name.empty()) return name;
    if (!ended) return std::nullopt;
  }
}

double NameList::share() const {
  if (bytes_ <= 0) return 0;
  return (read_ - static_cast<double>(buffer_.size() - at_)) / bytes_;
}

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

InputReader::InputReader(const std::filesystem::path& list) : list_(list) {}

// The next path as it was given.
std::optional<std::filesystem::path> InputReader::next_name() {
  while (paths_.empty() && list_) {
    const std::optional<std::string> name = list_->next();
    if (!name) break;
    take(*name);
  }
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
  if (list_) return list_->share();
  const auto rest = static_cast<double>(paths_.size()) + (walk_ ? 1 - walk_->share() : 0);
  return 1 - rest / static_cast<double>(std::max(given_, std::size_t{1}));
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
    const TarFile& tar = all.tars->files()[0];
    PassedOver uncounted;
    for (const std::size_t i : pictures_in(tar, shard.passed_over ? *shard.passed_over : uncounted))
      all.samples.push_back(
          {.relative = inside(tar.entries()[i].name), .record = TarShards::record(0, i)});
  } else {
    for (const std::filesystem::path& file : shard.files)
      all.samples.push_back({.relative = file.string()});
  }
  return all;
}

}  // namespace dfengine
