// What the commands that read tables of pictures share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/dfengine/common.h"
#include "engine/tables/metadata/labelled_table.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {

// How tables are read and what of them is used.
struct TableArguments {
  std::filesystem::path data;  // empty: each table's own folder
  std::string label_positive;
  bool file_properties = false;
  std::vector<std::string> exclude;
  DeviceOptions device;

  // --data, --label-positive, --device and --threads.
  void add_reading_to(CLI::App& command);
  // --file-properties and --exclude.
  void add_columns_to(CLI::App& command);

  std::filesystem::path root(const std::filesystem::path& csv) const;
  // With the columns of append_file_properties where `properties`.
  LabelledTable read(const std::filesystem::path& csv, bool properties) const;
};

// image_logits of a table's pictures with a progress line.
std::vector<double> table_image_logits(Model& model, ThreadPool& pool, const LabelledTable& table,
                                       const std::filesystem::path& root);

// Full paths of a table's pictures.
std::vector<std::filesystem::path> picture_paths(const LabelledTable& table,
                                                 const std::filesystem::path& root);

// One line per column: used or why not.
void print_columns(const std::vector<ColumnVerdict>& verdicts);

}  // namespace dfengine
