// Pictures and their notes inside of tar files, read through libarchive (CMake option
// DFENGINE_TAR).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/index.h"
#include "kernels/base/shape.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {

// Tells by the ending.
bool is_tar(const std::filesystem::path& file);

// A file in a tar: its name there, and where its bytes lie.
struct TarEntry {
  std::string name;
  std::uint64_t at = 0, bytes = 0;
};

struct TarListing {
  std::vector<TarEntry> entries = {};
  Index others = 0;  // symbolic links and devices
};

// An uncompressed tar (ustar, pax or GNU), of which only the headers are kept. Several threads may
// read from it at the same time.
class TarFile {
 public:
  // Lists the files in it; folders are passed over, symbolic links and devices only counted, and
  // of a name that is there twice the last is listed. Throws DataError naming the file and what is
  // wrong with it: it does not exist, is no tar, is compressed, cut short or followed by more data,
  // or holds an entry that cannot be read in one piece.
  explicit TarFile(std::filesystem::path file);

  const std::filesystem::path& file() const { return file_; }
  const std::vector<TarEntry>& entries() const { return listing_.entries; }
  // Symbolic links and devices.
  Index others() const { return listing_.others; }
  // Throws DataError where the file does not have all these bytes any more, or they are more than a
  // picture may have.
  void read(std::size_t entry, std::vector<std::byte>& out) const;
  // The same of its first bytes, `most` or as many as it has.
  void read_first(std::size_t entry, std::size_t most, std::vector<std::byte>& out) const;
  // How messages name an entry: FILE.tar/ENTRY.
  std::string name_of(std::size_t entry) const;

 private:
  std::filesystem::path file_;
  UniqueFd fd_;
  TarListing listing_;
};

// Several of them, whose entries have numbers in common.
class TarShards {
 public:
  explicit TarShards(std::vector<TarFile> files) : files_(std::move(files)) {}

  const std::vector<TarFile>& files() const { return files_; }
  static Index record(std::size_t file, std::size_t entry) {
    return static_cast<Index>(file) << 32 | static_cast<Index>(entry);
  }
  static std::size_t file_number(Index record) { return at(record >> 32); }
  const TarFile& file_of(Index record) const { return files_[file_number(record)]; }
  static std::size_t entry_of(Index record) { return at(record & 0xFFFFFFFF); }
  const TarEntry& entry(Index record) const { return file_of(record).entries()[entry_of(record)]; }
  // As TarFile::read.
  void read(Index record, std::vector<std::byte>& out) const;
  std::string name_of(Index record) const { return file_of(record).name_of(entry_of(record)); }

 private:
  std::vector<TarFile> files_;
};

// The names that a pattern such as "{train,valid}-{000..063}.tar" stands for, in order and with as
// many digits as it has, as a shell would write them; the name itself where there are no such
// braces, or where it is longer than any path. Throws UsageError where they are more than a
// million.
std::vector<std::string> expand_braces(const std::string& pattern);

}  // namespace dfengine
