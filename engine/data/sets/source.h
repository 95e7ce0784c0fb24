// From what a person names as data to labelled data sets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"

namespace dfengine {

struct DataOptions {
  // A folder of pictures or a table (.csv); with tables below, where their paths begin.
  std::filesystem::path data;
  std::filesystem::path csv, valid_csv, test_csv;
  std::string classes;            // REAL,FAKE: names of the two classes; "": the usual ones
  std::string label_positive;     // real or fake: what a table's label 1 means; "": found out
  std::vector<double> fractions;  // of train, valid and test (2 or 3), of a set without splits
  std::string group_column;       // rows of one value share a split
  std::uint64_t seed = 0;         // of the split
  OnBad on_bad = OnBad::Skip;

  bool has_source() const { return !data.empty() || !csv.empty() || !test_csv.empty(); }
  // Throws UsageError naming the option.
  void validate() const;
};

struct DataSource {
  std::string layout;           // what was recognised, for people
  std::vector<Dataset> splits;  // in the order asked for

  // The layout, then a line per split with its counts.
  std::string describe() const;
};

// Layouts: DIR/SPLIT/CLASS; DIR/CLASS; tables, one per split, or one with a column "split";
// a packed file (pack.h); DIR with train.csv, valid.csv (val.csv), test.csv. Folders may lie up to
// two levels down (find_tree). A set without splits is divided by `fractions`, such that copies of
// one file and rows of one group share a split; without fractions it is the split "all". `wanted`
// names splits; empty: all there are. Throws DataError or UsageError that says what was found and
// what to try.
DataSource open_data(const DataOptions& options, const std::vector<std::string>& wanted);

// Round trip; the second throws nlohmann::json::exception or UsageError.
nlohmann::json to_json(const DataOptions& options);
DataOptions data_options_from_json(const nlohmann::json& json);

}  // namespace dfengine
