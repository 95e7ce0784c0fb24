// From what a person names as data to labelled data sets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/option_row.h"
#include "engine/data/sets/dataset.h"
#include "engine/data/sets/listing.h"

namespace dfengine {

struct DataOptions {
  // A folder of pictures, a table (.csv), or tars (tar_source.h). With the tables below it is where
  // their paths begin.
  std::filesystem::path data;
  std::filesystem::path csv, valid_csv, test_csv;
  std::string classes;            // names of the two classes, REAL,FAKE; "" for the usual ones
  std::string label_positive;     // what a table's label 1 means: real, fake, or "" to find out
  std::vector<double> fractions;  // 2 or 3, of train, valid and test, for a set without splits
  std::string path_column;        // of tables; "" for the usual names
  std::string label_column;       // the same
  std::string group_column;       // rows with the same value there share a split
  std::uint64_t seed = 0;         // of the division by fractions
  OnBad on_bad = OnBad::Skip;

  // Names where the set lies now; nothing where that is empty. A packed file has its own classes
  // and splits: what was said of those is dropped.
  void move_to(const std::filesystem::path& place);
  bool has_source() const { return !data.empty() || !csv.empty() || !test_csv.empty(); }
  // Throws UsageError naming the option.
  void validate() const;
  // Throws UsageError with those of these options that were given, which a set of this kind
  // ignores.
  void refuse(std::initializer_list<std::string_view> flags, const std::string& set) const;
};

// Every field of DataOptions.
using DataOption = OptionRow<DataOptions, std::filesystem::path, std::string, std::vector<double>,
                             std::uint64_t, OnBad>;
std::span<const DataOption> data_options();

struct DataSource {
  std::string layout;           // text for people: what was recognised
  std::vector<Dataset> splits;  // in the order asked for
  PassedOver passed_over = {};  // of the whole set's folders

  // Text for people: the layout, then a line for each split with its counts, and one for what was
  // passed over.
  std::string describe() const;
};

// These layouts are recognised:
//   DIR/SPLIT/CLASS and others, in DIR itself or up to two levels down (FolderSet)
//   DIR with train.csv, valid.csv and test.csv
//   tables, one for each split, or one with a column "split"; of a table for one split that has
//   this column the rows of that split are taken a packed file (pack.h) tars, with the class of
//   each picture beside it (tar_source.h), or a folder of tars
// A set without splits is divided by `fractions`, such that copies of one file and rows of one
// group share a split; without fractions it is the split "all". In a set with splits the fractions
// divide train, to make those that are missing. `wanted` names the splits to open, "all" for
// everything; where it is empty, all splits are opened. Throws DataError or UsageError that says
// what was found and what to try, also where two splits name the same pictures, and for options
// that such a set ignores.
DataSource open_data(const DataOptions& options, const std::vector<std::string>& wanted);

// Opens what a model is measured on when nobody names a split: test, or all of a set without
// splits.
DataSource open_to_measure(const DataOptions& options);

// Whether a file is a table by its ending, csv or tsv.
bool is_table(const std::filesystem::path& file);

// The options as if the tables that lie in the folder had been named; nothing where there are none.
std::optional<DataOptions> with_tables_inside(const DataOptions& options);

// Makes the paths absolute, so that they mean the same from every folder.
void make_absolute(DataOptions& options);

// The second undoes the first. It throws nlohmann::json::exception or UsageError.
nlohmann::json to_json(const DataOptions& options);
DataOptions data_options_from_json(const nlohmann::json& json);

}  // namespace dfengine
