#include "engine/data/sets/folder_meaning.h"

#include <system_error>

namespace dfengine {

namespace fs = std::filesystem;

NameMeaning FolderMeanings::of(const fs::path& folder) const {
  if (const auto at = known_.find(folder); at != known_.end()) return at->second;
  NameMeaning meaning = by_name(folder);
  if (meaning.label >= 0 && holds_both(folder, true)) meaning.label = -1;
  known_.emplace(folder, meaning);
  return meaning;
}

NameMeaning FolderMeanings::by_name(const fs::path& folder) const {
  const std::string name = folder.filename().string();
  NameMeaning meaning = names_.meaning(name);
  if (meaning.label < 0 && name == split_) meaning.split = canonical_split(split_);
  return meaning;
}

// What cannot be listed holds nothing: whoever reads the folder says so.
bool FolderMeanings::holds_both(const fs::path& folder, bool look_into_splits) const {
  bool real = false, fake = false;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const NameMeaning inside = by_name(it->path());
    std::error_code ignored;
    if ((inside.label < 0 && inside.split.empty()) || !it->is_directory(ignored)) continue;
    real |= inside.label == 0;
    fake |= inside.label == 1;
    if (inside.label < 0 && look_into_splits && holds_both(it->path(), false)) return true;
  }
  return real && fake;
}

}  // namespace dfengine
