// Columns of a table as numbers: the type of each is found on the training table, and everything a
// later table needs to be read the same way is kept.
//
// | type        | when (values of the training table)     | features |
// |-------------|-----------------------------------------|-----------------------------------------|
// | constant    | fewer than two different values         | none | | numeric     | all are numbers
// | the value, standardised                 | | timestamp   | all are dates or times | year; month,
// weekday and hour each as   | |             |                                         | sine and
// cosine; all standardised       | | categorical | up to half of the rows differ, or 20 do | one
// per level; rare levels share one    | | text        | more than that: ids, paths              |
// length, share of digits, frequent words |
//
// Numeric, timestamp and text columns with missing values get one more feature that says so; the
// value itself is then the mean. A categorical column has "" as a level. A level that training
// never saw counts as rare where there is a feature for rare levels, else as none. Values further
// than ten standard deviations from the mean count as ten.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/sets/csv.h"
#include "engine/tables/metadata/logistic.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

enum class ColumnType { Constant, Numeric, Timestamp, Categorical, Text };
template <>
inline constexpr auto enum_names<ColumnType> =
    names_for<ColumnType>("column type", {{"constant", ColumnType::Constant},
                                          {"numeric", ColumnType::Numeric},
                                          {"timestamp", ColumnType::Timestamp},
                                          {"categorical", ColumnType::Categorical},
                                          {"text", ColumnType::Text}});

struct ColumnEncoding {
  std::string name;
  ColumnType type = ColumnType::Constant;
  std::vector<double> mean, std_dev;  // of the standardised features, in order
  std::vector<std::string> levels;    // categorical: with a feature of their own; text: words
  bool rare = false;                  // categorical: has a feature for other levels
  bool missing = false;               // has a feature for missing values

  Index features() const;
};

// A level needs this share of the rows, and two rows, for a feature of its own; a column has at
// most kMaxLevels.
inline constexpr double kRareShare = 0.01;
inline constexpr std::size_t kMaxLevels = 50;

// values: the column's field in each row of the training table.
ColumnEncoding fit_column(const std::string& name, const std::vector<std::string_view>& values);

// The fields of a column in each row.
std::vector<std::string_view> column_values(const CsvTable& table, Index column);

// Several columns side by side.
struct Encoder {
  std::vector<ColumnEncoding> columns;

  Index features() const;
  // "size", "device=phone", "device=(rare)", "taken:hour sin", "taken:missing", ...
  std::vector<std::string> feature_names() const;
  // -> [table's rows, features()]. Throws DataError naming `name` and the column that is absent.
  Matrix encode(const CsvTable& table, const std::string& name) const;
};

// Columns of the training table by name. Throws DataError naming `name` for an absent column.
Encoder fit_encoder(const CsvTable& table, const std::vector<std::string>& columns,
                    const std::string& name);

// Round trip. from_json throws ModelFileError for anything that to_json does not write.
nlohmann::json to_json(const Encoder& encoder);
Encoder encoder_from_json(const nlohmann::json& json);

}  // namespace dfengine
