#include "engine/data/pack.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/data/open_file.h"
#include "engine/data/tar.h"
#include "kernels/base/checksum.h"
#include "kernels/base/error.h"

namespace dfengine {
bool is_pack(const std::filesystem::path& file) {
  return file.extension() == kPackExtension;
}

// Everything but the records.
Pack::Pack(const std::filesystem::path& file) : file_(file), fd_(open_file(file)) {
  const std::string name = file_.string();
  const auto size = static_cast<std::size_t>(::lseek(fd_.get(), 0, SEEK_END));
  PackHeader header;
  char magic[sizeof(header.magic)] = {};
  if (size >= sizeof(header)) read_at(0, magic, sizeof(magic));
  if (std::memcmp(magic, header.magic, sizeof(magic)) != 0)
    throw DataError(name + ": not a packed file of dfengine pack");
  read_at(0, &header, sizeof(header));
  if (header.records_at > size || header.records_at < sizeof(header) ||
      header.index_bytes > header.records_at - sizeof(header)) {
    throw DataError(name + ": cut short inside its index");
  }
  std::string text(header.index_bytes, '\0');
  read_at(sizeof(header), text.data(), text.size());
  if (checksum(text) != header.index_checksum)
    throw DataError(name + ": its index is damaged (checksum)");
  index_ = read_index(text, name);
  records_at_ = header.records_at;
  const auto there = size - records_at_;
  const auto wanted = static_cast<std::size_t>(index_.records() * index_.record_bytes());
  if (there < wanted || (there - wanted) % sizeof(Index) != 0) {
    throw DataError(
        fmt::format("{}: {} bytes of pictures instead of {}; pack again", name, there, wanted));
  }
  bad_.resize((there - wanted) / sizeof(Index));
  read_at(records_at_ + wanted, bad_.data(), there - wanted);
  for (Index i : bad_) {
    if (i < 0 || i >= index_.records())
      throw DataError(name + ": its list of bad records is damaged");
  }
}

// Read, not mapped: a file that is cut below a mapping ends the process.
void Pack::read_at(std::size_t at, void* out, std::size_t bytes) const {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n = ::pread(fd_.get(), static_cast<char*>(out) + done, bytes - done,
                              static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(file_.string() + ": " + std::generic_category().message(errno));
    if (n == 0) {
      throw DataError(fmt::format("{}: cut short at byte {} while it was read; pack again",
                                  file_.string(), at + done));
    }
    done += static_cast<std::size_t>(n);
  }
}

std::size_t Pack::place_of(Index record) const {
  return records_at_ + static_cast<std::size_t>(record * index_.record_bytes());
}

void Pack::read(Index i, std::uint8_t* out) const {
  const std::span pixels(out, static_cast<std::size_t>(index_.picture_bytes()));
  PackTrailer trailer;
  read_at(place_of(i), out, pixels.size());
  read_at(place_of(i) + pixels.size(), &trailer, sizeof(trailer));
  if (trailer.checksum != record_checksum(std::as_bytes(pixels), trailer.state)) {
    throw DataError(
        fmt::format("{}: record {} is damaged (checksum); pack again", file_.string(), i));
  }
  if (trailer.state == kPackPixels) return;
  const auto* reason = reinterpret_cast<const char*>(out);
  throw DataError(std::string(reason, strnlen(reason, pixels.size())));
}

bool Pack::is_unread(Index i) const {
  PackTrailer trailer;
  read_at(place_of(i) + static_cast<std::size_t>(index_.picture_bytes()), &trailer,
          sizeof(trailer));
  return trailer.state == kPackUnread;
}

bool can_be_completed(const Pack& pack, const std::vector<Dataset>& splits) {
  std::vector<std::filesystem::path> paths;
  for (const Dataset& split : splits)
    for (const Sample& sample : split.samples) paths.push_back(split.path(sample));
  return std::ranges::any_of(pack.bad(), [&](Index i) {
    return pack.is_unread(i) && ::access(paths[at(i)].c_str(), R_OK) == 0;
  });
}

Image& decode_sample(const Dataset& dataset, const Sample& sample, Preparer& preparer) {
  if (!dataset.tars) return preparer.decode(dataset.path(sample));
  thread_local std::vector<std::byte> file;
  dataset.tars->read(sample.record, file);
  return preparer.decode(file, dataset.tars->name_of(sample.record));
}

void prepare_sample(const Dataset& dataset, const Sample& sample, Preparer& preparer,
                    std::uint8_t* out) {
  if (dataset.pack) {
    dataset.pack->read(sample.record, out);
  } else {
    preparer.prepare(decode_sample(dataset, sample, preparer), out);
  }
}

// By path, as a folder's are.
static Dataset joined(const std::vector<Dataset>& splits) {
  Dataset all{splits.front().root, "all", {}};
  for (const Dataset& split : splits)
    all.samples.insert(all.samples.end(), split.samples.begin(), split.samples.end());
  std::ranges::stable_sort(all.samples, {}, &Sample::relative);
  return all;
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
    if (at == splits.end() && name == "all" && !splits.empty()) {
      found.push_back(packed(joined(splits)));
      continue;
    }
    if (at == splits.end()) {
      throw DataError(fmt::format("{} has no split '{}'; it has:{}", file.string(), name, names));
    }
    found.push_back(packed(*at));
  }
  return found;
}

}  // namespace dfengine
