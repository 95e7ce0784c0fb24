// SHA-256 digests of data: they tell whether two runs saw the same pictures or the same rows.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/sets/csv.h"
#include "engine/data/sets/dataset.h"

namespace dfengine {

// Of the relative paths, labels and file sizes of two sets, in order. What the files hold does not
// count, because that would take reading them all, nor do their dates, which a copy does not keep.
std::string digest(const Dataset& train, const Dataset& valid);

// Of a table's fields.
std::string digest(const CsvTable& table);

// Of where a file or folder lies on this machine: it finds the place again without telling it.
std::string place_digest(const std::filesystem::path& path);

// Of each sample's split, name, label, file size and time of change.
std::string source_digest(const std::vector<Dataset>& splits);

}  // namespace dfengine
