// A table whose rows are pictures with known labels, and the columns of it that give the label
// away.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/sets/csv.h"
#include "engine/data/sets/csv_source.h"
#include "engine/tables/metadata/encoder.h"

namespace dfengine {

struct LabelledTable {
  std::string name;  // for errors
  CsvTable table;
  std::vector<int> label;  // [rows] 1 for fake
};

// Reads the labels of a table as table_labels does (engine/data/sets/csv_source.h), and throws what
// it throws. Throws DataError also for a table without rows.
LabelledTable label_table(CsvTable table, const ClassNames& names,
                          const std::string& label_positive, const std::string& name);
// The same of a file, whose columns of paths and labels are then called path and label
// (name_columns). Where a column says the rows' splits, those of options.split are kept, or all
// where that is "", and the column is dropped. Throws DataError where none is left.
LabelledTable read_labelled_csv(const std::filesystem::path& file, const TableOptions& options);

// A column that alone ranks the classes this well tells how the set was put together rather than
// how a picture was made.
inline constexpr double kLeakAuc = 0.95;

// The column that holds the answer, which is never a feature.
inline constexpr const char* kLabelColumn = "label";

struct ColumnVerdict {
  enum class Kind { Used, Constant, Leak, Excluded };

  std::string name;
  ColumnType type = ColumnType::Constant;
  // The ROC-AUC of a logistic regression on this column alone, where each row is scored by a fit on
  // the other four fifths. It is NaN for a column of one value.
  double auc = 0;
  Kind kind = Kind::Used;
  std::string reason;  // text for people: why it is not used
};

// Judges every column but "label". A leak is a column named like a label, one that counts the rows,
// one that reaches kLeakAuc, or a text that differs in nearly every row, such as an id or a path.
// Numbers are judged with their tenths as well, so that a class in the middle shows. Of more than
// 20,000 rows only every k-th is looked at. The same table gives the same verdicts. Throws as
// fit_logistic.
std::vector<ColumnVerdict> judge_columns(const LabelledTable& data);

// The names of the columns to use: those that `verdicts` call used, and with `keep_leaks` the leaks
// too. The columns in `exclude` are never used, and their verdicts become Excluded. Throws
// UsageError for a name in `exclude` that is no column.
std::vector<std::string> choose_columns(std::vector<ColumnVerdict>& verdicts,
                                        const std::vector<std::string>& exclude, bool keep_leaks);

}  // namespace dfengine
