#include "kernels/base/cache_folder.h"

#include <cstdlib>

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// Empty for a variable that is not set.
fs::path path_in(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? fs::path() : fs::path(value);
}

}  // namespace

std::optional<fs::path> cache_folder() {
  // The XDG base directory specification: relative paths are to be ignored.
  if (const fs::path cache = path_in("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "dfengine";
  if (const fs::path home = path_in("HOME"); !home.empty()) return home / ".cache" / "dfengine";
  return std::nullopt;
}

}  // namespace dfengine
