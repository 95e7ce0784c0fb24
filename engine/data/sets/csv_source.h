// CSV tables that name pictures and their labels.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/csv.h"
#include "engine/data/sets/dataset.h"
#include "engine/data/sets/listing.h"
#include "engine/data/sets/table_columns.h"

namespace dfengine {

struct TableOptions {
  std::filesystem::path root = {};  // where the paths begin; empty for the table's own folder
  ClassNames names = {};
  std::string label_positive = "";  // what label 1 means: real, fake, or "" to find out
  ColumnNames columns = {};
  std::string group_column = "";  // "" for no groups
  std::string split = "";         // that the table is, "" where only its name may say so
};

// The rows of a table as samples, sorted by path. `groups` and `splits` answer to the samples, or
// are empty where the table has no such column.
struct TableSource {
  Dataset dataset;
  std::vector<std::string> groups;
  std::vector<std::string> splits;  // train, valid or test
  std::string split_column;         // that says so; "" for none
  std::string label_rule;           // text for people: how labels and paths were read
  PassedOver passed_over = {};      // of tars
};

// The columns of paths and labels (0, 1, true, false or a class name) must be there
// (table_columns.h). Those of label_str, split and groups may be there, and others are passed over.
// Paths begin where place_paths finds the files (table_paths.h). A label 1 means what
// label_positive says, or the column's name (is_fake); else what label_str says or, failing that,
// the folder in the path. In the result fake is 1 whatever the table says. Throws DataError, with
// counts and the first rows, where label, label_str and folder disagree, where a picture has two
// labels or splits, for rows without path or label, and as place_paths. Throws UsageError where
// nothing tells what label 1 means.
TableSource read_table_source(const std::filesystem::path& file, const TableOptions& options);

// The label of each row of a table, by this same rule, whose words go to `rule`.
std::vector<int> table_labels(const CsvTable& table, const std::string& name,
                              const ClassNames& names, const std::string& label_positive,
                              const ColumnNames& columns, std::string& rule);

// The split that a row names in its column of splits. Throws DataError for what is none.
std::string row_split(const CsvTable& table, const std::string& name, std::size_t row,
                      std::size_t column);

// Throws DataError, with counts and the first rows, where rows of one path have different labels.
void require_one_label(const CsvTable& table, const std::string& name, std::size_t path,
                       const std::vector<int>& labels);

}  // namespace dfengine
