#include "apps/dfengine/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/data/digest.h"
#include "engine/data/sets/csv_source.h"
#include "engine/data/sets/split.h"
#include "engine/tables/metadata/property_columns.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Where a picture is not here its path alone does not tell it from another set's of the same name,
// but a whole row does.
void require_rows_apart(const std::vector<const LabelledTable*>& tables) {
  std::map<std::vector<std::string>, const LabelledTable*> holder;
  for (const LabelledTable* t : tables) {
    if (t->table.find("path") < 0) continue;
    std::size_t shared = 0;
    const LabelledTable* other = nullptr;
    for (const std::vector<std::string>& row : t->table.rows) {
      const LabelledTable* first = holder.try_emplace(row, t).first->second;
      if (first == t || first->table.columns != t->table.columns) continue;
      ++shared;
      other = first;
    }
    if (shared > 0)
      throw UsageError(fmt::format(
          "{} and {} share {} of their rows: figures on rows that were used to fit are better than "
          "on new ones. Leave them out of one of the two",
          other->name, t->name, shared));
  }
}

}  // namespace

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

LabelledTable TableArguments::read(const std::filesystem::path& csv, const std::string& split,
                                   bool properties) const {
  check_options(data_options(), source);
  LabelledTable table =
      read_labelled_csv(csv, {.names = ClassNames(source.classes),
                              .label_positive = source.label_positive,
                              .columns = {.path = source.path_column, .label = source.label_column},
                              .split = split});
  if (properties) append_file_properties(table.table, root(csv), table.name);
  return table;
}

LabelledTable TableArguments::read_for(const std::vector<const MetadataModel*>& models,
                                       const std::filesystem::path& csv,
                                       const std::string& split) const {
  LabelledTable table = read(csv, split, false);
  std::string digests[2] = {digest(table.table), ""};  // [with file properties]
  if (std::ranges::any_of(models, &MetadataModel::file_properties)) {
    append_file_properties(table.table, root(csv), table.name);
    digests[1] = digest(table.table);
  }
  for (const MetadataModel* model : models)
    if (model->trained_on == digests[model->file_properties ? 1 : 0])
      throw UsageError(table.name +
                       ": the metadata model was fitted on this very table, where its errors are "
                       "fewer than on new rows. Name a table of other rows");
  return table;
}

void TableArguments::require_tables_apart(const std::vector<const LabelledTable*>& tables) const {
  std::map<std::string, std::string> names;  // by what the table holds, which need not be paths
  std::vector<ApartPictures> parts;
  for (const LabelledTable* t : tables) {
    const auto [same, is_new] = names.try_emplace(digest(t->table), t->name);
    if (!is_new)
      throw UsageError(fmt::format(
          "{} and {} are the same table: figures on rows that were used to fit are better than on "
          "new ones. Name another table",
          same->second, t->name));
    if (t->table.find("path") >= 0) parts.push_back({t->name, picture_paths(*t, root(t->name))});
  }
  require_apart(parts);
  require_rows_apart(tables);
}

std::vector<double> table_image_logits(Model& model, ThreadPool& pool, const LabelledTable& table,
                                       const std::filesystem::path& root) {
  require_one_label(table.table, table.name, path_column(table.table, {}, table.name), table.label);
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

void print_unfit_fields(const CsvTable& table, const std::string& name,
                        const std::vector<Encoder>& encoders) {
  std::set<std::string> lines;
  for (const Encoder& encoder : encoders) lines.merge(encoder.unfit_fields(table, name));
  for (const std::string& line : lines) fmt::print(stderr, "dfengine: {}\n", line);
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
