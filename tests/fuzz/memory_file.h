// A file in memory, for readers that take a path.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "kernels/base/unique_fd.h"

namespace dfengine::fuzz {

class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {}

  // Puts these bytes in place of what it held. The name is good as long as the object.
  std::filesystem::path holding(std::span<const std::byte> bytes) {
    if (!fd_ || ::ftruncate(fd_.get(), 0) != 0 ||
        ::pwrite(fd_.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      std::abort();
    return "/proc/self/fd/" + std::to_string(fd_.get());
  }

 private:
  UniqueFd fd_;
};

}  // namespace dfengine::fuzz
