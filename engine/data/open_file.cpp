#include "engine/data/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "kernels/base/error.h"

namespace dfengine {

UniqueFd open_file(const std::filesystem::path& file) {
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) throw DataError(file.string() + ": " + absence_of(file.string()));
  if (!fd) throw DataError(file.string() + ": " + std::generic_category().message(errno));
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw DataError(file.string() + ": not a file");
  return fd;
}

std::string absence_of(const std::string& name) {
  return name.find("://") == name.npos
             ? "no such file"
             : "no such file: what lies at an address is not fetched, download it first";
}

}  // namespace dfengine
