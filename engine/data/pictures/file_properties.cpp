#include "engine/data/pictures/file_properties.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "engine/data/pictures/exif.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {
namespace {

Index number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size, bool big) {
  Index value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t k = big ? i : size - 1 - i;
    value = value << 8 | std::to_integer<Index>(bytes[at + k]);
  }
  return value;
}

// The first chunk, by the container's specification: VP8X counts less one in three bytes, VP8L
// (lossless) in 14 bits after a mark, and VP8 after a start code.
void read_webp_header(std::span<const std::byte> bytes, FileProperties& p) {
  constexpr std::size_t kChunk = 12, kBody = 20, kNeeded = kBody + 10;
  if (bytes.size() < kNeeded) return;
  const std::string_view kind(reinterpret_cast<const char*>(bytes.data()) + kChunk, 4);
  if (kind == "VP8X") {
    p.w = number_at(bytes, kBody + 4, 3, false) + 1;
    p.h = number_at(bytes, kBody + 7, 3, false) + 1;
  } else if (kind == "VP8L") {
    const Index both = number_at(bytes, kBody + 1, 4, false);
    p.w = (both & 0x3FFF) + 1;
    p.h = (both >> 14 & 0x3FFF) + 1;
  } else if (kind == "VP8 ") {
    p.w = number_at(bytes, kBody + 6, 2, false) & 0x3FFF;
    p.h = number_at(bytes, kBody + 8, 2, false) & 0x3FFF;
  }
}

// Reads on up to `size` bytes in all, or to the end. False with errno set where it cannot be read.
bool read_on(int fd, std::size_t size, std::vector<std::byte>& bytes) {
  std::size_t got = bytes.size();
  bytes.resize(std::max(got, size));
  while (got < bytes.size()) {
    const ssize_t n = read(fd, bytes.data() + got, bytes.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  bytes.resize(got);
  return true;
}

// Colour profiles and previews make some headers long.
bool read_jpeg(int fd, std::vector<std::byte>& bytes, FileProperties& p) {
  constexpr std::size_t kMost = std::size_t{2} << 20;
  for (std::size_t size = bytes.size();; size *= 2) {
    if (!read_on(fd, size, bytes)) return false;
    p.jpeg = read_jpeg_header(bytes);
    if (p.jpeg || bytes.size() < size || size >= kMost) break;
  }
  if (!p.jpeg) return true;
  p.h = p.jpeg->h, p.w = p.jpeg->w;
  p.exif = has_exif(bytes);
  return true;
}

// False with errno set where the file cannot be read.
bool read_header(int fd, std::vector<std::byte>& bytes, FileProperties& p) {
  constexpr std::size_t kFirst = std::size_t{64} << 10;
  if (!read_on(fd, kFirst, bytes)) return false;
  p.format = file_format(bytes);
  if (p.format.name == "JPEG") return read_jpeg(fd, bytes, p);
  if (p.format.name == "PNG" || p.format.name == "WebP") {
    if (!read_on(fd, std::min(p.bytes, kMaxImageFileBytes), bytes)) return false;
    p.exif = has_exif(bytes);
  }
  if (p.format.name == "PNG" && bytes.size() >= 24) {
    p.w = number_at(bytes, 16, 4, true);
    p.h = number_at(bytes, 20, 4, true);
  } else if (p.format.name == "WebP") {
    read_webp_header(bytes, p);
  } else if (p.format.name == "BMP" && bytes.size() >= 26) {
    p.w = number_at(bytes, 18, 4, false);
    p.h = std::abs(static_cast<Index>(static_cast<std::int32_t>(number_at(bytes, 22, 4, false))));
    p.exif = false;
  }
  return true;
}

}  // namespace

FileProperties read_file_properties(const std::filesystem::path& file) {
  FileProperties p;
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!fd || fstat(fd.get(), &info) != 0) {
    p.error = std::strerror(errno);
    return p;
  }
  if (!S_ISREG(info.st_mode)) {
    p.error = "is no regular file";
    return p;
  }
  p.bytes = static_cast<std::uintmax_t>(info.st_size);
  std::vector<std::byte> bytes;
  if (!read_header(fd.get(), bytes, p))
    p.error = std::strerror(errno);
  else if (bytes.empty())
    p.error = "the file is empty";
  return p;
}

}  // namespace dfengine
