// Folders of labelled pictures: which folders are splits and classes, and what lies in them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/dataset.h"
#include "engine/data/sets/listing.h"

namespace dfengine {

// Everything that was found below one folder. A picture's class is that of the outermost folder
// above it that bears a class's name, its split that of the outermost one with a split's name; the
// same folder may bear both. Folders that mean nothing may lie above the classes where no class or
// split lies beside them (categories), and anywhere below.
class FolderSet {
 public:
  // Looks at dir itself or, as in Kaggle's archives, at the one folder at most two levels down that
  // holds splits or both classes. Several folders with classes and no splits are the categories of
  // one set. A folder with the very name `split` is a split, too. Gives nothing where there is
  // none. Throws DataError where several folders of one level hold splits, or dir is no folder.
  static std::optional<FolderSet> find(const std::filesystem::path& dir, const ClassNames& names,
                                       const std::string& split = "");

  // Text for people: root and shape, such as SPLIT/CATEGORY/CLASS.
  const std::string& layout() const { return layout_; }
  // The splits that are there, train, valid and test first; none for a set without splits.
  const std::vector<std::string>& splits() const { return splits_; }
  // The split whose name the folders of the classes bear where there is no other: such a set has no
  // splits either.
  const std::string& own_name() const { return own_name_; }
  const PassedOver& passed_over() const { return passed_over_; }

  // The pictures of a split, or of all, sorted by relative path so that the order never depends on
  // the file system. Links to folders are followed; what cannot be listed, and a link to a folder
  // already listed, goes to Dataset::unlisted. Throws DataError, which names what is missing and
  // what was found, where a class is absent, has two folders, or holds no picture.
  Dataset split(const std::string& name) const;
  Dataset all() const;

 private:
  friend class FolderSurvey;

  // One split, or the pictures without.
  struct Part {
    std::filesystem::path folder;  // which holds the folders of the classes
    Dataset dataset;
    std::map<int, std::filesystem::path> classes;  // by label, one of the folders
    std::string fault;                             // why it cannot be used
  };

  void name_splits(bool has_split_folders, const std::string& wanted);
  void check(const Part& part) const;

  ClassNames names_;
  std::filesystem::path root_;
  std::string layout_, own_name_;
  std::vector<std::string> splits_;
  std::map<std::string, Part> parts_;  // by split, "" for none
  PassedOver passed_over_;
};

}  // namespace dfengine
