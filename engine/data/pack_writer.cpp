// Writing packed files (pack.h): decoding by all threads, records in order.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "engine/data/digest.h"
#include "engine/data/pack.h"
#include "kernels/base/checksum.h"
#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

constexpr std::size_t kHeaderBytes = sizeof(PackHeader);

// FILE.part, which no other process has meanwhile.
class PartFile {
 public:
  explicit PartFile(const std::filesystem::path& target)
      : target_(target), path_(target.string() + ".part"), fd_(open_part(path_)) {}

  std::size_t size() const {
    struct stat status = {};
    if (::fstat(fd_.get(), &status) != 0) fail("look at");
    return static_cast<std::size_t>(status.st_size);
  }
  // False where the file has fewer bytes.
  bool read(std::size_t at, void* out, std::size_t bytes) const {
    return ::pread(fd_.get(), out, bytes, static_cast<off_t>(at)) == static_cast<ssize_t>(bytes);
  }
  void cut(std::size_t bytes) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) fail("cut");
  }
  void write(std::size_t at, const void* data, std::size_t bytes) {
    const std::span from(static_cast<const std::byte*>(data), bytes);
    if (::lseek(fd_.get(), static_cast<off_t>(at), SEEK_SET) < 0 || !write_all(fd_.get(), from))
      fail("write");
  }
  // Takes the content of another file.
  void copy(const std::filesystem::path& from) {
    std::error_code error;
    std::filesystem::copy_file(from, path_, std::filesystem::copy_options::overwrite_existing,
                               error);
    if (error) throw Error(fmt::format("cannot copy {}: {}", from.string(), error.message()));
  }
  void finish() {
    if (::fsync(fd_.get()) != 0) fail("sync");
    if (::rename(path_.c_str(), target_.c_str()) != 0) fail("rename");
    const std::filesystem::path parent = target_.has_parent_path() ? target_.parent_path() : ".";
    // Where the file system can do this, the name survives a power cut.
    const UniqueFd folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder) ::fsync(folder.get());
  }

 private:
  [[noreturn]] void fail(const char* step) const {
    throw Error(
        fmt::format("{}: cannot {}: {}", path_, step, std::generic_category().message(errno)));
  }

  std::filesystem::path target_;
  std::string path_;
  UniqueFd fd_;
};

std::string beginning(const PackIndex& index) {
  const std::string text = write_index(index);
  PackHeader header;
  header.index_bytes = text.size();
  header.index_checksum = checksum(text);
  constexpr std::size_t kPage = 4096;
  header.records_at = (kHeaderBytes + text.size() + kPage - 1) / kPage * kPage;
  std::string bytes(header.records_at, '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + kHeaderBytes, text.data(), text.size());
  return bytes;
}

bool begins_with(const std::filesystem::path& file, const std::string& start) {
  std::ifstream stream(file, std::ios::binary);
  std::string found(start.size(), '\0');
  return stream.read(found.data(), static_cast<std::streamsize>(found.size())) && found == start;
}

// What an earlier try left.
struct Earlier {
  Index whole = -1;           // records; -1: another's part
  std::vector<Index> bad;     // those without a picture
  std::vector<Index> unread;  // those that may have one now
};

Earlier earlier_try(const PartFile& part, const std::string& start, const PackIndex& index) {
  Earlier earlier;
  std::string found(start.size(), '\0');
  if (!part.read(0, found.data(), found.size()) || found != start) return earlier;
  const auto bytes = static_cast<std::size_t>(index.record_bytes());
  const auto most = static_cast<Index>((part.size() - start.size()) / bytes);
  std::vector<std::uint8_t> record(bytes);
  Index& n = earlier.whole;
  // A power cut may have left any of them damaged.
  for (n = 0; n < std::min(most, index.records()); ++n) {
    PackTrailer trailer;
    if (!part.read(start.size() + static_cast<std::size_t>(n) * bytes, record.data(), bytes)) break;
    const std::span pixels = std::span(record).first(bytes - sizeof(trailer));
    std::memcpy(&trailer, record.data() + pixels.size(), sizeof(trailer));
    if (trailer.checksum != record_checksum(std::as_bytes(pixels), trailer.state)) break;
    if (trailer.state == kPackUnread) earlier.unread.push_back(n);
    if (trailer.state == kPackReason) earlier.bad.push_back(n);
  }
  return earlier;
}

void check_space(const std::filesystem::path& file, std::uintmax_t wanted) {
  struct statvfs disk = {};
  const std::filesystem::path parent = file.has_parent_path() ? file.parent_path() : ".";
  if (::statvfs(parent.c_str(), &disk) != 0) return;
  const std::uintmax_t free = std::uintmax_t{disk.f_bavail} * disk.f_frsize;
  if (free < wanted) {
    throw Error(fmt::format("{} needs {} MiB, and the disk has {} MiB left", file.string(),
                            wanted >> 20, free >> 20));
  }
}

// Fills one record: the picture, or why there is none. False where there is none.
bool make_record(Preparer& preparer, const Dataset& dataset, const Sample& sample,
                 std::span<std::uint8_t> out) {
  PackTrailer trailer{.state = kPackPixels};
  const std::span pixels = out.first(out.size() - sizeof(trailer));
  const auto note = [&](std::string_view reason, std::uint64_t state) {
    std::ranges::fill(pixels, std::uint8_t{0});
    std::memcpy(pixels.data(), reason.data(), std::min(reason.size(), pixels.size()));
    trailer.state = state;
  };
  try {
    prepare_sample(dataset, sample, preparer, pixels.data());
  } catch (const UnreadableFile& e) {
    note(e.what(), kPackUnread);
  } catch (const DataError& e) {
    note(e.what(), kPackReason);
  }
  trailer.checksum = record_checksum(std::as_bytes(pixels), trailer.state);
  std::memcpy(out.data() + pixels.size(), &trailer, sizeof(trailer));
  return trailer.state == kPackPixels;
}

}  // namespace

std::uintmax_t pack_file_bytes(const std::vector<Dataset>& splits, const Preparation& how) {
  const PackIndex index{how, std::string(64, '0'), splits};
  return beginning(index).size() +
         static_cast<std::uintmax_t>(index.records() * index.record_bytes());
}

PackResult write_pack(const std::filesystem::path& file, const std::vector<Dataset>& splits,
                      const Preparation& how, ThreadPool& pool,
                      const std::function<bool(Index done, Index total)>& go_on) {
  for (const Dataset& split : splits) {
    if (split.pack) throw UsageError(split.root.string() + " is packed already");
  }
  const PackIndex index{how, source_digest(splits), splits};
  const std::string start = beginning(index);
  const auto bytes = static_cast<std::size_t>(index.record_bytes());
  PackResult result;
  result.records = index.records();
  PartFile part(file);
  if (part.size() == 0 && begins_with(file, start)) part.copy(file);
  Earlier earlier = earlier_try(part, start, index);
  if (earlier.whole < 0) {
    earlier.whole = 0;
    part.cut(0);
    part.write(0, start.data(), start.size());
  }
  const auto place_of = [&](Index i) { return start.size() + static_cast<std::size_t>(i) * bytes; };
  part.cut(place_of(earlier.whole));
  check_space(file, place_of(result.records) - place_of(earlier.whole));
  std::vector<Index> todo = std::move(earlier.unread);
  result.bad = std::move(earlier.bad);
  result.resumed = earlier.whole - std::ssize(todo);
  for (Index i = earlier.whole; i < result.records; ++i) todo.push_back(i);

  std::vector<std::pair<const Dataset*, const Sample*>> pictures;
  for (const Dataset& split : splits) {
    for (const Sample& s : split.samples) pictures.emplace_back(&split, &s);
  }
  constexpr Index kBlock = 64;
  std::vector<std::uint8_t> block(static_cast<std::size_t>(kBlock) * bytes);
  std::array<bool, kBlock> good = {};
  std::vector<Preparer> preparers(static_cast<std::size_t>(pool.size()), Preparer(how));
  for (Index done = 0; done < std::ssize(todo);) {
    const std::span records =
        std::span(todo).subspan(at(done), at(std::min(kBlock, std::ssize(todo) - done)));
    parallel_for(pool, std::ssize(records), [&](Index i, int worker) {
      const auto& [split, sample] = pictures[at(records[at(i)])];
      good[at(i)] = make_record(preparers[at(worker)], *split, *sample,
                                std::span(block).subspan(at(i) * bytes, bytes));
    });
    for (std::size_t i = 0; i < records.size(); ++i) {
      part.write(place_of(records[i]), block.data() + i * bytes, bytes);
      if (!good[i]) result.bad.push_back(records[i]);
    }
    done += std::ssize(records);
    if (!go_on(result.resumed + done, result.records) && done < std::ssize(todo)) return result;
  }
  std::ranges::sort(result.bad);
  part.write(place_of(result.records), result.bad.data(), result.bad.size() * sizeof(Index));
  part.finish();
  result.finished = true;
  return result;
}

}  // namespace dfengine
