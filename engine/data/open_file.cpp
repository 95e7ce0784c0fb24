#include "engine/data/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "kernels/base/error.h"

namespace dfengine {

UniqueFd open_file(const std::filesystem::path& file) {
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw DataError(file.string() + ": " + std::generic_category().message(errno));
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw DataError(file.string() + ": not a file");
  return fd;
}

}  // namespace dfengine
