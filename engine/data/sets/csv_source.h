// Tables (CSV) that name pictures and their labels.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/csv.h"
#include "engine/data/sets/dataset.h"

namespace dfengine {

struct TableOptions {
  std::filesystem::path root;  // where the paths begin; empty: the table's folder
  ClassNames names;
  std::string label_positive;  // "real" or "fake": what label 1 means; "": found out
  std::string group_column;    // "": none
};

// Rows of a table as samples, sorted by path. groups and splits answer to the samples, or are empty
// where the table has no such column.
struct TableSource {
  Dataset dataset;
  std::vector<std::string> groups;
  std::vector<std::string> splits;  // of a column "split": train, valid or test
  std::string label_rule;           // how its labels were read, for people
};

// Columns `path` and `label` (0, 1 or a class name), of which label_str, split and the group column
// are optional; others are passed over. Paths begin at options.root, else at the table's folder, or
// up to two folders below either: where the first rows' files are. A label 1 means what
// label_positive says; else what label_str or, failing that, the folder in `path` says; inside,
// fake is 1. Throws DataError, with counts and the first rows, where label, label_str and folder
// disagree, for rows without path or label and where no file of the first rows exists; UsageError
// where nothing tells what label 1 means.
TableSource read_table_source(const std::filesystem::path& file, const TableOptions& options);

// The label of each row of a table, by the rule above. `rule` gets the words for it.
std::vector<int> table_labels(const CsvTable& table, const std::string& name,
                              const ClassNames& names, const std::string& label_positive,
                              std::string& rule);

}  // namespace dfengine
