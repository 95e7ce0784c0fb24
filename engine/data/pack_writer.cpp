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
#include <system_error>

#include "engine/data/digest.h"
#include "engine/data/pack.h"
#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

constexpr std::size_t kHeaderBytes = sizeof(PackHeader);

// FILE.part, locked against other processes.
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
    end_ = bytes;
  }
  void append(const void* data, std::size_t bytes) {
    write(end_, data, bytes);
    end_ += bytes;
  }
  void write(std::size_t at, const void* data, std::size_t bytes) {
    const std::span from(static_cast<const std::byte*>(data), bytes);
    if (::lseek(fd_.get(), static_cast<off_t>(at), SEEK_SET) < 0 || !write_all(fd_.get(), from))
      fail("write");
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
  std::size_t end_ = 0;
};

std::string beginning(const PackIndex& index) {
  const std::string text = write_index(index);
  PackHeader header;
  header.index_bytes = text.size();
  header.index_checksum =
      pack_checksum({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  constexpr std::size_t kPage = 4096;
  header.records_at = (kHeaderBytes + text.size() + kPage - 1) / kPage * kPage;
  std::string bytes(header.records_at, '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + kHeaderBytes, text.data(), text.size());
  return bytes;
}

// Records that an earlier try left whole, of a part with the same beginning; -1: another's part.
// Those without a picture are added to `bad`.
Index whole_records(const PartFile& part, const std::string& start, const PackIndex& index,
                    std::vector<Index>& bad) {
  std::string found(start.size(), '\0');
  if (!part.read(0, found.data(), found.size()) || found != start) return -1;
  const auto bytes = static_cast<std::size_t>(index.record_bytes());
  const auto most = static_cast<Index>((part.size() - start.size()) / bytes);
  std::vector<std::uint8_t> record(bytes);
  Index n = 0;
  // A power cut may have left any of them damaged.
  for (; n < std::min(most, index.records()); ++n) {
    PackTrailer trailer;
    if (!part.read(start.size() + static_cast<std::size_t>(n) * bytes, record.data(), bytes)) break;
    const std::span pixels = std::span(record).first(bytes - sizeof(trailer));
    std::memcpy(&trailer, record.data() + pixels.size(), sizeof(trailer));
    if (trailer.checksum != pack_checksum(pixels)) break;
    if (trailer.state != kPackPixels) bad.push_back(n);
  }
  return n;
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

// Fills one record: the picture, or why there is none.
void make_record(Preparer& preparer, const std::filesystem::path& file, std::span<std::uint8_t> out,
                 bool& good) {
  PackTrailer trailer;
  const std::span pixels = out.first(out.size() - sizeof(trailer));
  good = true;
  try {
    preparer.prepare(file, pixels.data());
  } catch (const std::exception& e) {
    good = false;
    const std::string_view reason = e.what();
    std::ranges::fill(pixels, std::uint8_t{0});
    std::memcpy(pixels.data(), reason.data(), std::min(reason.size(), pixels.size()));
  }
  trailer.checksum = pack_checksum(pixels);
  trailer.state = good ? kPackPixels : kPackReason;
  std::memcpy(out.data() + pixels.size(), &trailer, sizeof(trailer));
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
  result.resumed = whole_records(part, start, index, result.bad);
  if (result.resumed < 0) {
    result.resumed = 0;
    part.cut(0);
    part.append(start.data(), start.size());
  }
  const auto kept = start.size() + static_cast<std::size_t>(result.resumed) * bytes;
  part.cut(kept);
  check_space(file, start.size() + static_cast<std::size_t>(result.records) * bytes - kept);

  std::vector<std::pair<const Dataset*, const Sample*>> pictures;
  for (const Dataset& split : splits) {
    for (const Sample& s : split.samples) pictures.emplace_back(&split, &s);
  }
  constexpr Index kBlock = 64;
  std::vector<std::uint8_t> block(static_cast<std::size_t>(kBlock) * bytes);
  std::array<bool, kBlock> good = {};
  std::vector<Preparer> preparers(static_cast<std::size_t>(pool.size()), Preparer(how));
  for (Index done = result.resumed; done < result.records;) {
    const Index n = std::min(kBlock, result.records - done);
    parallel_for(pool, n, [&](Index i, int worker) {
      const auto& [split, sample] = pictures[at(done + i)];
      make_record(preparers[at(worker)], split->path(*sample),
                  std::span(block).subspan(at(i) * bytes, bytes), good[at(i)]);
    });
    part.append(block.data(), static_cast<std::size_t>(n) * bytes);
    for (Index i = 0; i < n; ++i) {
      if (!good[at(i)]) result.bad.push_back(done + i);
    }
    done += n;
    if (!go_on(done, result.records) && done < result.records) return result;
  }
  part.append(result.bad.data(), result.bad.size() * sizeof(Index));
  part.finish();
  result.finished = true;
  return result;
}

}  // namespace dfengine
