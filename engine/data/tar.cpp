#include "engine/data/tar.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <unordered_map>

#include "engine/data/pictures/image.h"
#include "engine/data/sets/class_names.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/numbers.h"

#if DFENGINE_TAR
#include <archive.h>
#include <archive_entry.h>

#include <memory>
#endif

namespace dfengine {
namespace {

UniqueFd open_tar(const std::filesystem::path& file) {
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw DataError(file.string() + ": " + std::generic_category().message(errno));
  return fd;
}

#if DFENGINE_TAR

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw DataError(fmt::format("{}: {}", file.string(), what));
}

std::vector<TarEntry> list_entries(const std::filesystem::path& file, int fd) {
  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  constexpr std::size_t kBlock = 65536;
  const std::unique_ptr<archive, Free> reader(archive_read_new());
  archive* const a = reader.get();
  if (a == nullptr) throw Error(file.string() + ": no memory for reading a tar");
  archive_read_support_format_tar(a);
  const off_t end = ::lseek(fd, 0, SEEK_END);
  ::lseek(fd, 0, SEEK_SET);
  const auto fail_as_tar = [&](std::uint64_t at) {
    const char* reason = archive_error_string(a);
    fail(file, fmt::format("no tar from byte {} on ({}); a compressed one must be unpacked first",
                           at, reason == nullptr ? "damaged" : reason));
  };
  if (end < 0 || archive_read_open_fd(a, fd, kBlock) != ARCHIVE_OK) fail_as_tar(0);
  std::vector<TarEntry> entries;
  std::unordered_map<std::string, std::size_t> by_name;  // filled when a hard link asks
  archive_entry* entry = nullptr;
  for (int code; (code = archive_read_next_header(a, &entry)) != ARCHIVE_EOF;) {
    const auto at = static_cast<std::uint64_t>(archive_filter_bytes(a, 0));
    // A warning is about a name that is not in this locale: its bytes are there all the same.
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) fail_as_tar(at);
    const char* given = archive_entry_pathname(entry);
    const std::string name = given == nullptr ? "" : given;
    if (const char* target = archive_entry_hardlink(entry)) {
      for (std::size_t i = by_name.size(); i < entries.size(); ++i) by_name[entries[i].name] = i;
      const auto found = by_name.find(target);
      if (found == by_name.end())
        fail(file, fmt::format("'{}' is a link to '{}', which is not in it before", readable(name),
                               readable(target)));
      entries.push_back({name, entries[found->second].at, entries[found->second].bytes});
      continue;
    }
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    const std::int64_t bytes = archive_entry_size(entry);
    if (name.empty()) fail(file, fmt::format("an entry without a name at byte {}", at));
    if (archive_entry_sparse_count(entry) > 0)
      fail(file, fmt::format("'{}' is stored with holes: write the tar without --sparse",
                             readable(name)));
    if (bytes < 0 || at > static_cast<std::uint64_t>(end) ||
        static_cast<std::uint64_t>(bytes) > static_cast<std::uint64_t>(end) - at)
      fail(file,
           fmt::format("cut short: '{}' has {} bytes from byte {} on, and the file ends at {}",
                       readable(name), bytes, at, end));
    entries.push_back({name, at, static_cast<std::uint64_t>(bytes)});
  }
  return entries;
}

#else

std::vector<TarEntry> list_entries(const std::filesystem::path& file, int) {
  throw DataError(file.string() +
                  ": this build reads no tar files: install libarchive-dev and configure with "
                  "-DDFENGINE_TAR=ON");
}

#endif

}  // namespace

bool is_tar(const std::filesystem::path& file) {
  return lower_case(file.extension().string()) == ".tar";
}

TarFile::TarFile(std::filesystem::path file)
    : file_(std::move(file)), fd_(open_tar(file_)), entries_(list_entries(file_, fd_.get())) {}

std::string TarFile::name_of(std::size_t entry) const {
  return file_.string() + "/" + entries_[entry].name;
}

void TarFile::read(std::size_t entry, std::vector<std::byte>& out) const {
  const TarEntry& e = entries_[entry];
  if (e.bytes > kMaxImageFileBytes)
    throw DataError(fmt::format("{}: {} bytes pass the limit of {}", name_of(entry), e.bytes,
                                kMaxImageFileBytes));
  out.resize(static_cast<std::size_t>(e.bytes));
  for (std::size_t done = 0; done < out.size();) {
    const ssize_t n =
        ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(e.at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(name_of(entry) + ": " + std::generic_category().message(errno));
    if (n == 0) throw DataError(name_of(entry) + ": the tar was cut short while it was read");
    done += static_cast<std::size_t>(n);
  }
}

std::vector<std::string> expand_braces(const std::string& pattern) {
  constexpr std::uint64_t kMost = 1000000;
  for (std::size_t open = pattern.find('{'); open != pattern.npos;
       open = pattern.find('{', open + 1)) {
    const std::size_t close = pattern.find('}', open), dots = pattern.find("..", open);
    if (close == pattern.npos || dots == pattern.npos || dots > close) continue;
    const std::string_view from(pattern.data() + open + 1, dots - open - 1);
    const std::string_view to(pattern.data() + dots + 2, close - dots - 2);
    const auto first = number_of<std::uint64_t>(from), last = number_of<std::uint64_t>(to);
    if (!first || !last || *first > *last) continue;
    const std::vector<std::string> rest = expand_braces(pattern.substr(close + 1));
    if ((*last - *first) >= kMost / rest.size())
      throw UsageError(fmt::format("{}: stands for more than {} names", pattern, kMost));
    std::vector<std::string> names;
    for (std::uint64_t i = *first; i <= *last; ++i)
      for (const std::string& end : rest)
        names.push_back(fmt::format("{}{:0{}}{}", pattern.substr(0, open), i, from.size(), end));
    return names;
  }
  return {pattern};
}

void TarShards::read(Index record, std::vector<std::byte>& out) const {
  file_of(record).read(entry_of(record), out);
}

}  // namespace dfengine
