#include "engine/evaluate/explain_files.h"

#include <set>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// "" where there is no such file.
std::filesystem::path real_path(const std::filesystem::path& file) {
  std::error_code absent;
  return std::filesystem::canonical(file, absent);
}

}  // namespace

std::vector<std::filesystem::path> overlay_files(
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& pictures) {
  std::vector<std::filesystem::path> files;
  std::set<std::string> taken;
  std::set<std::filesystem::path> kept;
  for (const std::filesystem::path& picture : pictures) kept.insert(real_path(picture));
  kept.erase("");
  for (const std::filesystem::path& picture : pictures) {
    const std::string stem = picture.stem().string();
    std::string name = stem;
    for (int i = 2; !taken.insert(name).second; ++i) name = stem + "-" + std::to_string(i);
    files.push_back(folder / (name + ".png"));
    if (kept.contains(real_path(files.back())))
      throw UsageError(files.back().string() +
                       ": the overlay would replace a picture: name another folder as --output");
  }
  return files;
}

}  // namespace dfengine
