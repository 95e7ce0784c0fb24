// Columns of a table as numbers. The type of each column is found on the training table, and all
// that a later table needs to be read in the same way is kept.
//
// | type        | values of the training table      | features                                   |
// |-------------|-----------------------------------|--------------------------------------------|
// | constant    | fewer than two different ones     | none                                       |
// | numeric     | all are numbers                   | the value, standardised                    |
// | timestamp   | all are dates or times            | year; month, weekday and hour, each as     |
// |             |                                   | sine and cosine; all standardised          |
// | categorical | at most 20 different ones, or at  | one for each level; rare levels share one  |
// |             | most half as many as rows         |                                            |
// | text        | more different ones, such as ids  | length and share of digits, standardised;  |
// |             | and paths                         | one for each frequent word                 |
//
// Numeric, timestamp and text columns with missing values get one more feature that says so; the
// value itself is then the mean. A categorical column has "" as a level for them. A level that
// training never saw counts as rare where there is a feature for rare levels, else as no level.
// Values further than ten standard deviations from the mean count as ten.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
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
  std::vector<std::string> levels;    // levels, or words of a text, with a feature of their own
  bool rare = false;                  // categorical, with a feature for the other levels
  bool missing = false;               // has a feature for missing values

  Index features() const;
};

// A level needs this share of the rows, and two rows, for a feature of its own; a column has at
// most kMaxLevels.
inline constexpr double kRareShare = 0.01;
inline constexpr std::size_t kMaxLevels = 50;

// `values` are the column's fields in the rows of the training table.
ColumnEncoding fit_column(const std::string& name, const std::vector<std::string_view>& values);

// The fields of a column in each row.
std::vector<std::string_view> column_values(const CsvTable& table, Index column);

// Several columns side by side.
struct Encoder {
  std::vector<ColumnEncoding> columns;

  Index features() const;
  // Gives [table's rows, features()]; fields that are not of their column's type count as missing.
  // Throws DataError naming `name` and the column that is absent.
  Matrix encode(const CsvTable& table, const std::string& name) const;
  // For people: a line for each column with fields that are neither missing nor, as in all of
  // training, numbers or times. Throws DataError as encode(), and where these are more than half of
  // a column's: the detector would answer as if the column said nothing.
  std::set<std::string> unfit_fields(const CsvTable& table, const std::string& name) const;
};

// Encodes these columns of the training table. Throws DataError naming `name` for an absent column.
Encoder fit_encoder(const CsvTable& table, const std::vector<std::string>& columns,
                    const std::string& name);

// The second undoes the first. It throws ModelFileError for anything that to_json does not write.
nlohmann::json to_json(const Encoder& encoder);
Encoder encoder_from_json(const nlohmann::json& json);

}  // namespace dfengine
