#include "engine/data/pack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "kernels/base/error.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {
namespace {

// The file's bytes, mapped; empty for an empty file.
std::span<const std::uint8_t> map_file(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw DataError(file.string() + ": " + std::generic_category().message(errno));
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw DataError(file.string() + ": not a file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return {};
  void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (bytes == MAP_FAILED) throw DataError(file.string() + ": cannot be mapped into memory");
  return {static_cast<const std::uint8_t*>(bytes), size};
}

}  // namespace

bool is_pack(const std::filesystem::path& file) {
  return file.extension() == kPackExtension;
}

Pack::Pack(const std::filesystem::path& file) : file_(file) {
  const auto bytes = map_file(file);
  bytes_ = bytes.data();
  size_ = bytes.size();
  try {
    parse(bytes);
  } catch (...) {
    if (bytes_) ::munmap(const_cast<std::uint8_t*>(bytes_), size_);
    throw;
  }
}

// Everything but the records.
void Pack::parse(std::span<const std::uint8_t> bytes) {
  const std::string name = file_.string();
  PackHeader header;
  if (bytes.size() < sizeof(header) || std::memcmp(bytes.data(), header.magic, 8) != 0) {
    throw DataError(name + ": not a packed file of dfengine pack");
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.records_at > bytes.size() || header.records_at < sizeof(header) ||
      header.index_bytes > header.records_at - sizeof(header)) {
    throw DataError(name + ": cut short inside its index");
  }
  const auto text = bytes.subspan(sizeof(header), header.index_bytes);
  if (pack_checksum(text) != header.index_checksum) {
    throw DataError(name + ": its index is damaged (checksum)");
  }
  index_ = read_index({reinterpret_cast<const char*>(text.data()), text.size()}, name);
  records_at_ = header.records_at;
  const auto there = bytes.size() - records_at_;
  const auto wanted = static_cast<std::size_t>(index_.records() * index_.record_bytes());
  if (there < wanted || (there - wanted) % sizeof(Index) != 0) {
    throw DataError(
        fmt::format("{}: {} bytes of pictures instead of {}; pack again", name, there, wanted));
  }
  bad_.resize((there - wanted) / sizeof(Index));
  if (!bad_.empty())
    std::memcpy(bad_.data(), bytes.data() + bytes.size() - (there - wanted), there - wanted);
  for (Index i : bad_) {
    if (i < 0 || i >= index_.records())
      throw DataError(name + ": its list of bad records is damaged");
  }
}

Pack::~Pack() {
  ::munmap(const_cast<std::uint8_t*>(bytes_), size_);
}

std::span<const std::uint8_t> Pack::record(Index i) const {
  const auto bytes = static_cast<std::size_t>(index_.record_bytes());
  return {bytes_ + records_at_ + static_cast<std::size_t>(i) * bytes,
          static_cast<std::size_t>(index_.picture_bytes())};
}

PackTrailer Pack::trailer(Index i) const {
  PackTrailer trailer;
  std::memcpy(&trailer, record(i).data() + index_.picture_bytes(), sizeof(trailer));
  return trailer;
}

void Pack::read(Index i, std::uint8_t* out) const {
  const auto pixels = record(i);
  std::memcpy(out, pixels.data(), pixels.size());
  // Of the copy: it stays near, and the file might change below us.
  if (trailer(i).checksum != pack_checksum({out, pixels.size()})) {
    throw DataError(
        fmt::format("{}: record {} is damaged (checksum); pack again", file_.string(), i));
  }
  if (trailer(i).state == kPackPixels) return;
  const auto* reason = reinterpret_cast<const char*>(out);
  throw DataError(std::string(reason, strnlen(reason, pixels.size())));
}

void prepare_sample(const Dataset& dataset, const Sample& sample, Preparer& preparer,
                    std::uint8_t* out) {
  if (dataset.pack) {
    dataset.pack->read(sample.record, out);
  } else {
    preparer.prepare(dataset.path(sample), out);
  }
}

std::vector<Dataset> open_pack(const std::filesystem::path& file,
                               const std::vector<std::string>& wanted) {
  const auto pack = std::make_shared<const Pack>(file);
  const auto packed = [&](Dataset split) {
    split.pack = pack;
    return split;
  };
  std::vector<Dataset> found;
  std::string names;
  for (const Dataset& split : pack->index().splits) {
    names += " " + split.split;
    if (wanted.empty()) found.push_back(packed(split));
  }
  for (const std::string& name : wanted) {
    const std::string other = name == "valid" ? "val" : name == "val" ? "valid" : name;
    const auto& splits = pack->index().splits;
    auto at = std::ranges::find(splits, name, &Dataset::split);
    if (at == splits.end()) at = std::ranges::find(splits, other, &Dataset::split);
    if (at == splits.end()) {
      throw DataError(fmt::format("{} has no split '{}'; it has:{}", file.string(), name, names));
    }
    found.push_back(packed(*at));
  }
  return found;
}

}  // namespace dfengine
