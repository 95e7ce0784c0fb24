// A file that is opened for reading in places.
#pragma once

#include <filesystem>
#include <string>

#include "kernels/base/unique_fd.h"

namespace dfengine {

// Throws DataError where it cannot be opened, and for what is no file, such as a pipe, which would
// wait for its other end.
UniqueFd open_file(const std::filesystem::path& file);

// What is said of a file that is not there, which may have been meant as the address of one.
std::string absence_of(const std::string& name);

}  // namespace dfengine
