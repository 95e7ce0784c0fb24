#include "apps/dfengine/tables.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/tables/metadata/property_columns.h"

namespace dfengine {

void TableArguments::add_reading_to(CLI::App& command) {
  command.add_option("--data", source.data, "Folder that the tables' paths begin at.")
      ->default_str("each table's own");
  add_table_columns(command, source);
}

void TableArguments::add_columns_to(CLI::App& command) {
  command.add_flag("--file-properties", file_properties,
                   "Use also what file headers say: size, dimensions, JPEG quantisation, EXIF.");
  command.add_option("--exclude", exclude, "Columns to leave out, separated by commas.")
      ->delimiter(',')
      ->default_str("none");
}

std::filesystem::path TableArguments::root(const std::filesystem::path& csv) const {
  return source.data.empty() ? csv.parent_path() : source.data;
}

LabelledTable TableArguments::read(const std::filesystem::path& csv, bool properties) const {
  check_options(data_options(), source);
  LabelledTable table = read_labelled_csv(
      csv, source.label_positive, {.path = source.path_column, .label = source.label_column});
  if (properties) append_file_properties(table.table, root(csv), table.name);
  return table;
}

std::vector<double> table_image_logits(Model& model, ThreadPool& pool, const LabelledTable& table,
                                       const std::filesystem::path& root) {
  ProgressLine line(true);
  return image_logits(model, pool, table_pictures(table.table, root, table.name), [&](Index done) {
    line.show(table.name + " ", done, std::ssize(table.label));
  });
}

std::vector<std::filesystem::path> picture_paths(const LabelledTable& table,
                                                 const std::filesystem::path& root) {
  std::vector<std::filesystem::path> paths;
  const Dataset pictures = table_pictures(table.table, root, table.name);
  for (const Sample& s : pictures.samples) paths.push_back(pictures.path(s));
  return paths;
}

void print_columns(const std::vector<ColumnVerdict>& verdicts) {
  for (const ColumnVerdict& v : verdicts) {
    const std::string auc = std::isnan(v.auc) ? "-" : fmt::format("{:.3f}", v.auc);
    const bool used = v.kind == ColumnVerdict::Kind::Used;
    fmt::print("column '{}': {}, AUC alone {}; {}\n", v.name, name_of(v.type), auc,
               used ? "used"
                    : (v.kind == ColumnVerdict::Kind::Leak ? "LEAK, left out: " : "left out: ") +
                          v.reason);
  }
}

}  // namespace dfengine
