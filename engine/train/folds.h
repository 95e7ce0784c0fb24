// Cross-validation: a whole set divided anew into train, valid and test, once for each fold.
#pragma once

#include <filesystem>
#include <vector>

#include "engine/data/sets/source.h"

namespace dfengine {

// Writes FOLDER/1.csv and so on, tables of all pictures of the set with a column split. Each
// picture is in the test split of one fold; as many as half a fold has are its valid split, all
// others its train split. Classes are spread evenly, and copies of one file share a split. The
// division depends on the pictures alone. Returns the tables. Throws UsageError for fewer than 2 or
// more than 20 folds, and where a table is there that says otherwise.
std::vector<std::filesystem::path> write_folds(const DataOptions& data, int folds,
                                               const std::filesystem::path& folder, int threads);

}  // namespace dfengine
