// What the commands that read tables of pictures share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "engine/tables/metadata/labelled_table.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {

// How tables are read and what of them is used.
struct TableArguments {
  DataOptions source;  // of which a folder, else each table's own, and the columns are used
  bool file_properties = false;
  std::vector<std::string> exclude;
  int threads = 0;  // of add_threads, where the command runs an image model

  // Adds --data and what add_table_columns adds.
  void add_reading_to(CLI::App& command);
  // Adds --file-properties and --exclude.
  void add_columns_to(CLI::App& command);

  std::filesystem::path root(const std::filesystem::path& csv) const;
  // Reads the rows of a split (read_labelled_csv), and where `properties` is true adds the columns
  // of append_file_properties.
  LabelledTable read(const std::filesystem::path& csv, const std::string& split,
                     bool properties) const;
  // The same with what these models need. Throws UsageError where one of them was fitted on it.
  LabelledTable read_for(const std::vector<const MetadataModel*>& models,
                         const std::filesystem::path& csv, const std::string& split) const;
  // Throws UsageError where two of these tables are the same, have pictures in common or, of
  // pictures that are not here, whole rows.
  void require_tables_apart(const std::vector<const LabelledTable*>& tables) const;
};

// Runs image_logits on a table's pictures, with a progress line. Throws DataError where a picture
// has both labels.
std::vector<double> table_image_logits(Model& model, ThreadPool& pool, const LabelledTable& table,
                                       const std::filesystem::path& root);

// The full paths of a table's pictures.
std::vector<std::filesystem::path> picture_paths(const LabelledTable& table,
                                                 const std::filesystem::path& root);

// Says on standard error, once for each column, which of a table's fields these encoders count as
// missing. Throws as Encoder::unfit_fields.
void print_unfit_fields(const CsvTable& table, const std::string& name,
                        const std::vector<Encoder>& encoders);

// Prints a line for each column, which says whether it is used, or why not.
void print_columns(const std::vector<ColumnVerdict>& verdicts);

}  // namespace dfengine
