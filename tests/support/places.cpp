#include "tests/support/places.h"

#include <cstdlib>

namespace dfengine::test {
namespace {

std::filesystem::path source_folder() {
  return DFENGINE_SOURCE_DIR;
}

}  // namespace

std::filesystem::path golden_folder() {
  return source_folder() / "tests/golden";
}

std::filesystem::path data_folder() {
  const char* given = std::getenv("DFENGINE_DATA");
  const std::filesystem::path folder = given ? given : source_folder() / "../shared/data";
  return std::filesystem::is_directory(folder) ? folder : std::filesystem::path();
}

std::filesystem::path build_folder() {
  return DFENGINE_BUILD_DIR;
}

std::string program() {
  return DFENGINE_PROGRAM;
}

}  // namespace dfengine::test
