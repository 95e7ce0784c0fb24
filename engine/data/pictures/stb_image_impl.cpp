// The one compiled copy of stb_image: only the formats we read, and only bounded allocations.
#include <cstdlib>
#include <cstring>

#include "engine/data/pictures/stb_limit.h"

namespace {

thread_local std::size_t allocation_limit = 0;
thread_local bool refused = false;

// Zeroed: pixels that a damaged file never sets are then the same on every run.
void* limited_malloc(std::size_t bytes) {
  if (bytes > allocation_limit) return nullptr;
  void* made = std::calloc(1, bytes);
  refused |= made == nullptr;
  return made;
}

void* limited_realloc(void* old, std::size_t old_bytes, std::size_t bytes) {
  if (bytes > allocation_limit) return nullptr;
  void* grown = std::realloc(old, bytes);
  refused |= grown == nullptr;
  if (grown && bytes > old_bytes) {
    std::memset(static_cast<char*>(grown) + old_bytes, 0, bytes - old_bytes);
  }
  return grown;
}

}  // namespace

namespace dfengine {

StbAllocationLimit::StbAllocationLimit(std::size_t bytes) {
  allocation_limit = bytes;
  refused = false;
}

StbAllocationLimit::~StbAllocationLimit() {
  allocation_limit = 0;
}

bool StbAllocationLimit::refused_by_system() const {
  return refused;
}

}  // namespace dfengine

#define STBI_MALLOC(bytes) limited_malloc(bytes)
#define STBI_REALLOC_SIZED(old, old_bytes, bytes) limited_realloc(old, old_bytes, bytes)
#define STBI_FREE(p) std::free(p)
// A damaged file must not end the program, in no kind of build.
#define STBI_ASSERT(condition) static_cast<void>(0)
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#include <stb_image.h>
#pragma GCC diagnostic pop
