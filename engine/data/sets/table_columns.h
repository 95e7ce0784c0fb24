// Which columns of a table name pictures, labels and splits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/data/sets/csv.h"

namespace dfengine {

// Columns that a person names; "" for those with a usual name.
struct ColumnNames {
  std::string path = "";
  std::string label = "";
};

// The usual names, in any case and with spaces or hyphens for underscores. "path" and "label" go
// before the others. Each gives the column's place; the last two give -1 where there is none.
// Throws DataError, with `name` and the table's columns, where a column is absent, where several
// could be meant, and for two columns of that name that differ in a row.
std::size_t path_column(const CsvTable& table, const ColumnNames& columns, const std::string& name);
std::size_t label_column(const CsvTable& table, const ColumnNames& columns,
                         const std::string& name);
// Whether these two would find one or several; ids are paths where one has a slash or a picture's
// ending.
bool has_path_column(const CsvTable& table, const ColumnNames& columns);
bool has_label_column(const CsvTable& table, const ColumnNames& columns);
// Another column whose fields may say the label in words.
Index label_text_column(const CsvTable& table, std::size_t label, const std::string& name);
// One that is called split, or by another usual name and has a split in some row.
Index split_column(const CsvTable& table, const std::string& name);
// The column of this very name, but for spaces around it. Throws DataError where there is none.
std::size_t require_column(const CsvTable& table, const std::string& column,
                           const std::string& name);

// What the name of a column of labels says about 1: "fake" for is_fake, "real" for is_real, or "".
std::string positive_by_name(std::string_view column);

// Gives the columns of paths and labels the names "path" and "label", where they are there, trims
// paths, and turns the backslashes of Windows in a table whose paths have no other slash. A column
// that had one of these names before is called "path (another)".
void name_columns(CsvTable& table, const ColumnNames& columns, const std::string& name);
// The same of paths alone, where nobody asks for labels.
void name_path_column(CsvTable& table, const ColumnNames& columns, const std::string& name);

}  // namespace dfengine
