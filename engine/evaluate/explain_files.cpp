#include "engine/evaluate/explain_files.h"

#include <set>

namespace dfengine {

std::vector<std::filesystem::path> overlay_files(
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& pictures) {
  std::vector<std::filesystem::path> files;
  std::set<std::string> taken;
  for (const std::filesystem::path& picture : pictures) {
    const std::string stem = picture.stem().string();
    std::string name = stem;
    for (int i = 2; !taken.insert(name).second; ++i) name = stem + "-" + std::to_string(i);
    files.push_back(folder / (name + ".png"));
  }
  return files;
}

}  // namespace dfengine
