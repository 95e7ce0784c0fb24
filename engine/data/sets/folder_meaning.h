// What a folder is among others: a split, a class, both or neither.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "engine/data/sets/class_names.h"

namespace dfengine {

// Meanings of folders' names, where one name more, `split`, is a split. A folder that holds both
// classes, itself or in its splits, is a category whatever its name: deepfake/0_real and
// deepfake/1_fake. Each folder is looked into once.
class FolderMeanings {
 public:
  // Both must live as long as this.
  FolderMeanings(const ClassNames& names, const std::string& split)
      : names_(names), split_(split) {}

  NameMeaning of(const std::filesystem::path& folder) const;
  // A name of the class for messages.
  const std::string& example(int label) const { return names_.example(label); }

 private:
  NameMeaning by_name(const std::filesystem::path& folder) const;
  bool holds_both(const std::filesystem::path& folder, bool look_into_splits) const;

  const ClassNames& names_;
  const std::string& split_;
  mutable std::map<std::filesystem::path, NameMeaning> known_;
};

}  // namespace dfengine
