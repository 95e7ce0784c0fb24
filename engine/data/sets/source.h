// From what a person names as data to labelled data sets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/data/option_row.h"
#include "engine/data/sets/dataset.h"

namespace dfengine {

struct DataOptions {
  // A folder of pictures, or a table (.csv). With the tables below it is where their paths begin.
  std::filesystem::path data;
  std::filesystem::path csv, valid_csv, test_csv;
  std::string classes;            // names of the two classes, REAL,FAKE; "" for the usual ones
  std::string label_positive;     // what a table's label 1 means: real, fake, or "" to find out
  std::vector<double> fractions;  // 2 or 3, of train, valid and test, for a set without splits
  std::string group_column;       // rows with the same value there share a split
  std::uint64_t seed = 0;         // of the division by fractions
  OnBad on_bad = OnBad::Skip;

  bool has_source() const { return !data.empty() || !csv.empty() || !test_csv.empty(); }
  // Throws UsageError naming the option.
  void validate() const;
};

// Every field of DataOptions.
using DataOption = OptionRow<DataOptions, std::filesystem::path, std::string, std::vector<double>,
                             std::uint64_t, OnBad>;
std::span<const DataOption> data_options();

struct DataSource {
  std::string layout;           // text for people: what was recognised
  std::vector<Dataset> splits;  // in the order asked for

  // Text for people: the layout, then a line for each split with its counts.
  std::string describe() const;
};

// These layouts are recognised:
//   DIR/SPLIT/CLASS, and DIR/CLASS, in DIR itself or up to two levels down (find_tree)
//   DIR with train.csv, valid.csv (or val.csv) and test.csv
//   tables, one for each split, or one with a column "split"
//   a packed file (pack.h)
// A set without splits is divided by `fractions`, such that copies of one file and rows of one
// group share a split; without fractions it is the split "all". `wanted` names the splits to open;
// where it is empty, all are opened. Throws DataError or UsageError that says what was found and
// what to try.
DataSource open_data(const DataOptions& options, const std::vector<std::string>& wanted);

// The second undoes the first. It throws nlohmann::json::exception or UsageError.
nlohmann::json to_json(const DataOptions& options);
DataOptions data_options_from_json(const nlohmann::json& json);

}  // namespace dfengine
