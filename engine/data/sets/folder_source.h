// Folders of labelled pictures, DIR/SPLIT/CLASS or DIR/CLASS, with any number of folders inside.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/dataset.h"

namespace dfengine {

// Where a folder's labelled pictures begin.
struct FolderTree {
  std::filesystem::path root;
  bool has_splits = false;  // where false, the classes lie in root itself
};

// Finds dir itself or, as in Kaggle's archives, the one folder at most two levels down that holds
// train/, valid/, val/, validation/, test/ or `split`, or both classes. Gives nothing where there
// is none. Throws DataError where several folders of one level qualify, or dir is no folder.
std::optional<FolderTree> find_tree(const std::filesystem::path& dir, const ClassNames& names,
                                    const std::string& split = "");

// The names of the splits that lie in dir: some of train, valid and test.
std::vector<std::string> splits_in(const std::filesystem::path& dir);

// Lists the pictures under dir/split/CLASS, at any depth, sorted by relative path so that the order
// never depends on the file system. The names valid, val and validation mean the same. Links to
// folders are followed; what cannot be listed, and a link to a folder already listed, goes to
// Dataset::unlisted. Throws DataError, which names what is missing and what was found, where a
// folder is absent or a class holds no picture.
Dataset scan_split(const std::filesystem::path& dir, std::string_view split,
                   const ClassNames& names = {});
// Lists dir/CLASS in the same way; Dataset::split is then "all".
Dataset scan_classes(const std::filesystem::path& dir, const ClassNames& names = {});

}  // namespace dfengine
