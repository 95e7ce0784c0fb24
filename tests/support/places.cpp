#include "tests/support/places.h"

#include <cstdlib>

namespace dfengine::test {
namespace {

// Programs that were carried to another machine run in the root of its checkout (tests/gpu.sh).
std::filesystem::path source_folder() {
  const std::filesystem::path built_from = DFENGINE_SOURCE_DIR;
  return std::filesystem::exists(built_from) ? built_from : std::filesystem::current_path();
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
