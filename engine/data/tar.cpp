#include "engine/data/tar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <iterator>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/data/open_file.h"
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

#if DFENGINE_TAR

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw DataError(fmt::format("{}: {}", file.string(), what));
}

class Listing {
 public:
  Listing(const std::filesystem::path& file, int fd) : file_(file), fd_(fd) {
    constexpr std::size_t kBuffer = 65536;
    if (!reader_) throw Error(file.string() + ": no memory for reading a tar");
    archive_read_support_format_tar(reader_.get());
    const off_t end = ::lseek(fd, 0, SEEK_END);
    ::lseek(fd, 0, SEEK_SET);
    if (end < 0 || archive_read_open_fd(reader_.get(), fd, kBuffer) != ARCHIVE_OK) fail_as_tar(0);
    end_ = static_cast<std::uint64_t>(end);
  }

  TarListing run() {
    std::uint64_t behind = 0;  // the last entry
    archive_entry* entry = nullptr;
    for (int code; (code = archive_read_next_header(reader_.get(), &entry)) != ARCHIVE_EOF;) {
      // A warning is about a name that is not in this locale: its bytes are there all the same.
      if (code != ARCHIVE_OK && code != ARCHIVE_WARN) fail_as_tar(at());
      take(entry);
      if (archive_read_data_skip(reader_.get()) != ARCHIVE_OK)
        fail(file_, fmt::format("cut short: it ends at byte {}", end_));
      behind = at();
    }
    check_end(behind);
    drop_replaced();
    return {std::move(entries_), others_};
  }

 private:
  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };

  std::uint64_t at() const {
    return static_cast<std::uint64_t>(archive_filter_bytes(reader_.get(), 0));
  }

  [[noreturn]] void fail_as_tar(std::uint64_t from) const {
    const char* reason = archive_error_string(reader_.get());
    fail(file_, fmt::format("no tar from byte {} on ({}); {}", from,
                            reason == nullptr ? "damaged" : reason,
                            from == 0 ? "a compressed one must be unpacked first"
                                      : "it is damaged or cut short, copy or write it anew"));
  }

  void take(archive_entry* entry) {
    const char* given = archive_entry_pathname(entry);
    const std::string name = given == nullptr ? "" : given;
    if (const char* target = archive_entry_hardlink(entry)) return take_link(name, target);
    if (archive_entry_filetype(entry) != AE_IFREG) {
      others_ += archive_entry_filetype(entry) == AE_IFDIR ? 0 : 1;
      return;
    }
    const std::int64_t bytes = archive_entry_size(entry);
    if (name.empty()) fail(file_, fmt::format("an entry without a name at byte {}", at()));
    if (archive_entry_sparse_count(entry) > 0)
      fail(file_, fmt::format("'{}' is stored with holes: write the tar without --sparse",
                              readable(name)));
    if (bytes < 0 || at() > end_ || static_cast<std::uint64_t>(bytes) > end_ - at())
      fail(file_,
           fmt::format("cut short: '{}' has {} bytes from byte {} on, and the file ends at {}",
                       readable(name), bytes, at(), end_));
    entries_.push_back({name, at(), static_cast<std::uint64_t>(bytes)});
  }

  void take_link(const std::string& name, const char* target) {
    for (; named_ < entries_.size(); ++named_) by_name_[entries_[named_].name] = named_;
    const auto found = by_name_.find(target);
    if (found == by_name_.end())
      fail(file_, fmt::format("'{}' is a link to '{}', which is not in it before", readable(name),
                              readable(target)));
    entries_.push_back({name, entries_[found->second].at, entries_[found->second].bytes});
  }

  // The library takes any end for the end. A tar ends with empty blocks, and what stands behind
  // them nobody would read.
  void check_end(std::uint64_t behind) const {
    constexpr std::uint64_t kBlock = 512;
    if (end_ < behind + kBlock)
      fail(file_, fmt::format("cut short: it ends at byte {} without the empty blocks that end a "
                              "tar; copy or write it anew",
                              end_));
    std::vector<char> bytes(65536);
    for (std::uint64_t from = behind; from < end_;) {
      const ssize_t n = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(from));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(file_, fmt::format("cannot be read at byte {}", from));
      const auto last = bytes.begin() + n;
      const auto data = std::find_if(bytes.begin(), last, [](char c) { return c != 0; });
      from += static_cast<std::uint64_t>(data - bytes.begin());
      if (data != last)
        fail(file_, fmt::format("more data at byte {}, behind the empty block at byte {} that ends "
                                "a tar: it is damaged, or several tars in one file; write it anew",
                                from, behind));
    }
  }

  // Of a name that is there twice the last entry counts, as in unpacking.
  void drop_replaced() {
    std::unordered_set<std::string_view> later;
    std::vector<bool> replaced(entries_.size(), false);
    for (std::size_t i = entries_.size(); i-- > 0;) {
      std::string_view name = entries_[i].name;
      while (name.starts_with("./")) name.remove_prefix(2);
      replaced[i] = !later.insert(name).second;
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (replaced[i]) continue;
      if (kept != i) entries_[kept] = std::move(entries_[i]);
      ++kept;
    }
    entries_.resize(kept);
  }

  const std::filesystem::path& file_;
  const int fd_;
  const std::unique_ptr<archive, Free> reader_{archive_read_new()};
  std::uint64_t end_ = 0;
  Index others_ = 0;
  std::vector<TarEntry> entries_;
  std::unordered_map<std::string, std::size_t> by_name_;  // filled when a hard link asks
  std::size_t named_ = 0;                                 // so many entries are in it
};

TarListing list_entries(const std::filesystem::path& file, int fd) {
  return Listing(file, fd).run();
}

#else

TarListing list_entries(const std::filesystem::path& file, int) {
  throw DataError(file.string() +
                  ": this build reads no tar files: install libarchive-dev and configure with "
                  "-DDFENGINE_TAR=ON");
}

#endif

void require_few(std::uint64_t choices, std::uint64_t rest, const std::string& pattern) {
  constexpr std::uint64_t kMost = 1000000;
  if (choices > kMost / rest)
    throw UsageError(fmt::format("{}: stands for more than {} names", pattern, kMost));
}

std::size_t closing_brace(const std::string& pattern, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < pattern.size(); ++i) {
    depth += pattern[i] == '{' ? 1 : pattern[i] == '}' ? -1 : 0;
    if (depth == 0) return i;
  }
  return pattern.npos;
}

// "000..063"; nothing where it is something else.
std::vector<std::string> numbers_in(std::string_view inside, const std::string& pattern) {
  const std::size_t dots = inside.find("..");
  if (dots == inside.npos) return {};
  const std::string_view from = inside.substr(0, dots);
  const auto first = number_of<std::uint64_t>(from);
  const auto last = number_of<std::uint64_t>(inside.substr(dots + 2));
  if (!first || !last || *first > *last) return {};
  require_few(*last - *first, 1, pattern);
  std::vector<std::string> numbers;
  for (std::uint64_t i = *first; i <= *last; ++i)
    numbers.push_back(fmt::format("{:0{}}", i, from.size()));
  return numbers;
}

// What stands between braces: numbers, or names with commas between them, which may have braces of
// their own. Nothing for other text.
std::vector<std::string> choices_in(const std::string& inside, const std::string& pattern) {
  std::vector<std::string> choices;
  std::size_t begin = 0;
  const auto add = [&](std::size_t end) {
    std::vector<std::string> some = expand_braces(inside.substr(begin, end - begin));
    require_few(choices.size() + some.size(), 1, pattern);
    std::ranges::move(some, std::back_inserter(choices));
    begin = end + 1;
  };
  int depth = 0;
  for (std::size_t i = 0; i < inside.size(); ++i) {
    depth += inside[i] == '{' ? 1 : inside[i] == '}' ? -1 : 0;
    if (inside[i] == ',' && depth == 0) add(i);
  }
  if (begin == 0) return numbers_in(inside, pattern);
  add(inside.size());
  return choices;
}

}  // namespace

bool is_tar(const std::filesystem::path& file) {
  return lower_case(file.extension().string()) == ".tar";
}

TarFile::TarFile(std::filesystem::path file)
    : file_(std::move(file)), fd_(open_file(file_)), listing_(list_entries(file_, fd_.get())) {}

std::string TarFile::name_of(std::size_t entry) const {
  return file_.string() + "/" + entries()[entry].name;
}

void TarFile::read(std::size_t entry, std::vector<std::byte>& out) const {
  const TarEntry& e = entries()[entry];
  if (e.bytes > kMaxImageFileBytes)
    throw DataError(fmt::format("{}: {} bytes pass the limit of {}", name_of(entry), e.bytes,
                                kMaxImageFileBytes));
  read_first(entry, static_cast<std::size_t>(e.bytes), out);
}

void TarFile::read_first(std::size_t entry, std::size_t most, std::vector<std::byte>& out) const {
  const TarEntry& e = entries()[entry];
  out.resize(static_cast<std::size_t>(std::min<std::uint64_t>(e.bytes, most)));
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
  if (pattern.size() > PATH_MAX) return {pattern};  // no file can be called so
  for (std::size_t open = pattern.find('{'); open != pattern.npos;
       open = pattern.find('{', open + 1)) {
    const std::size_t close = closing_brace(pattern, open);
    if (close == pattern.npos) continue;
    const std::vector<std::string> choices =
        choices_in(pattern.substr(open + 1, close - open - 1), pattern);
    if (choices.empty()) continue;
    const std::vector<std::string> rest = expand_braces(pattern.substr(close + 1));
    require_few(choices.size(), rest.size(), pattern);
    std::vector<std::string> names;
    for (const std::string& choice : choices)
      for (const std::string& end : rest)
        names.push_back(fmt::format("{}{}{}", pattern.substr(0, open), choice, end));
    return names;
  }
  return {pattern};
}

void TarShards::read(Index record, std::vector<std::byte>& out) const {
  file_of(record).read(entry_of(record), out);
}

}  // namespace dfengine
