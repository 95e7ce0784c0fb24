#include "weights/file_bytes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/unique_fd.h"

namespace dfengine::weights {
namespace {

// Far above any MobileNetV2 file; keeps a sparse file from taking the machine's memory.
constexpr std::int64_t kMaxFileSize = std::int64_t{4} << 30;

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view cause) {
  throw ModelFileError(fmt::format("{}: {}", path.string(), cause));
}

}  // namespace

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) refuse(path, fmt::format("cannot open: {}", std::strerror(errno)));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) refuse(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) refuse(path, "is not a regular file");
  if (info.st_size > kMaxFileSize) {
    refuse(path, fmt::format("{} bytes are too many for a weights file (limit {})", info.st_size,
                             kMaxFileSize));
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = read(fd.get(), bytes.data() + at, bytes.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(path, fmt::format("read failed at byte {}: {}", at, std::strerror(errno)));
    if (got == 0) refuse(path, fmt::format("became shorter while it was read, at byte {}", at));
    at += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace dfengine::weights
