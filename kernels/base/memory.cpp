#include "kernels/base/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "kernels/base/error.h"
#include "kernels/base/index.h"

namespace dfengine {

// Mapped, not taken from the heap: pages count only once touched and go back to the system at once.
Memory::Memory(Index bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* p = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    throw OutOfMemory("cannot get " + std::to_string(divide_up(bytes, Index{1} << 20)) +
                      " MiB of memory: " + std::strerror(errno) +
                      "; try smaller batches or fewer threads");
  data_ = std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(p), Unmap{bytes});
  // Large pages spare most of the page faults and address look-ups; a refusal costs only speed.
  madvise(p, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
}

void Unmap::operator()(std::byte* p) const {
  munmap(p, static_cast<std::size_t>(bytes));
}

namespace {

Index field_of(const char* file, const char* field) {
  std::ifstream status(file);
  std::string word;
  while (status >> word) {
    if (word == field) {
      Index kib = 0;
      status >> kib;
      return kib * 1024;
    }
    status.ignore(1 << 12, '\n');
  }
  return 0;
}

}  // namespace

Index available_bytes() {
  return field_of("/proc/meminfo", "MemAvailable:");
}

Index peak_resident_bytes() {
  return field_of("/proc/self/status", "VmHWM:");
}

}  // namespace dfengine
