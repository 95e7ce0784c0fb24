// A zip archive in memory, read through libzip (CMake option DFENGINE_ZIP).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct zip;

namespace dfengine::weights {

// Entries are stored or deflated. Everything that is read from one archive together is limited to
// what its own size justifies, so that a small file cannot fill the memory.
class ZipArchive {
 public:
  // `file` must outlive the archive. Throws ModelFileError with file and cause: for a damaged or
  // cut archive, for doubled names, and always in a build without libzip.
  ZipArchive(std::span<const std::byte> file, std::string name_for_errors);

  // In the order of the archive; entry i has names()[i].
  const std::vector<std::string>& names() const { return names_; }
  bool holds(std::string_view entry) const;
  // The content of an entry; its checksum is verified. Throws ModelFileError naming file and entry
  // where there is no such entry, or it is encrypted, compressed in another way, damaged or too
  // large.
  std::vector<std::byte> read(std::string_view entry);
  // The same as text; empty where there is no such entry.
  std::string read_text(std::string_view entry);
  // Stands where a path would in messages.
  const std::string& file_name() const { return file_name_; }

 private:
  std::vector<std::byte> read_all(std::uint64_t index, std::uint64_t size, std::string_view entry);
  [[noreturn]] void fail(std::string_view entry, std::string_view cause) const;

  std::string file_name_;
  std::unique_ptr<::zip, void (*)(::zip*)> zip_{nullptr, nullptr};
  std::vector<std::string> names_;
  std::uint64_t readable_ = 0;  // bytes that may still be read
};

}  // namespace dfengine::weights
