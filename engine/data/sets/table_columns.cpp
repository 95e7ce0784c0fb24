#include "engine/data/sets/table_columns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/listing.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// What is looked for in a table. The first name goes before the others.
struct Role {
  const char* what;
  const char* option;  // "" where none names it
  std::span<const char* const> names;
  std::span<const char* const> last_names = {};  // where none of the names is there
};

// As `plain` writes them.
constexpr const char* kPathNames[] = {
    "path",      "paths",     "filepath",      "filepaths",   "filename", "filenames", "file",
    "files",     "fname",     "relativepath",  "relpath",     "image",    "images",    "imagepath",
    "imagefile", "imagename", "imagefilename", "img",         "imgs",     "imgpath",   "imgfile",
    "imgname",   "picture",   "picturepath",   "picturefile", "photo",    "photopath", "photofile"};
// Where none of these is there: names that are numbers as often as files.
constexpr const char* kPathIds[] = {"imageid", "imgid"};
constexpr const char* kLabelNames[] = {
    "label",      "labels",      "class",         "classname",   "classlabel",
    "target",     "targets",     "category",      "groundtruth", "gt",
    "isfake",     "isreal",      "fake",          "real",        "isai",
    "isdeepfake", "isgenerated", "isaigenerated", "issynthetic", "isauthentic"};
constexpr const char* kLabelTexts[] = {"labelstr", "labelname", "labeltext", "classname", "class"};
constexpr const char* kSplitNames[] = {"split", "subset", "partition", "set"};

constexpr Role kPath = {"the pictures' paths", "--path-column", kPathNames, kPathIds};
constexpr Role kLabel = {"the labels", "--label-column", kLabelNames};

// "Image Path" and "image_path" as imagepath.
std::string plain(std::string_view column) {
  std::string name = lower_case(trimmed_field(column));
  std::erase_if(name, [](char c) { return c == ' ' || c == '-' || c == '_' || c == '.'; });
  return name;
}

std::string columns_of(const CsvTable& table) {
  std::vector<std::string> names;
  for (const std::string& c : table.columns) names.push_back("'" + c + "'");
  return fmt::format("{}", fmt::join(names, ", "));
}

// Where columns have the same name, a row must not tell which of them is meant.
void check_doubles(const CsvTable& table, std::size_t column, const std::string& name) {
  for (std::size_t other = 0; other < table.columns.size(); ++other) {
    if (other == column || plain(table.columns[other]) != plain(table.columns[column])) continue;
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      const std::vector<std::string>& row = table.rows[i];
      if (row[other] == row[column]) continue;
      throw DataError(fmt::format(
          "{}: two columns are called '{}' and contradict each other, first in line {}: '{}' and "
          "'{}'; remove one of them",
          name, table.columns[column], table.lines[i], row[std::min(column, other)],
          row[std::max(column, other)]));
    }
  }
}

// The first column of each name that is in the table, in the order of the names.
std::vector<std::size_t> named(const CsvTable& table, std::span<const char* const> names) {
  std::vector<std::size_t> found;
  for (const char* name : names) {
    const auto at = std::ranges::find(table.columns, name, plain);
    if (at != table.columns.end())
      found.push_back(static_cast<std::size_t>(at - table.columns.begin()));
  }
  return found;
}

// The first column of this name but for spaces around it, or -1.
Index find_trimmed(const CsvTable& table, std::string_view column) {
  const auto found = std::ranges::find(table.columns, trimmed_field(column), trimmed_field);
  return found == table.columns.end() ? -1 : found - table.columns.begin();
}

std::size_t find_role(const CsvTable& table, const Role& role, const std::string& given,
                      const std::string& name) {
  if (!given.empty()) {
    const Index found = find_trimmed(table, given);
    if (found >= 0) return static_cast<std::size_t>(found);
    throw DataError(fmt::format("{} has no column '{}', which {} names; its columns: {}", name,
                                given, role.option, columns_of(table)));
  }
  std::vector<std::size_t> found = named(table, role.names);
  if (found.empty()) found = named(table, role.last_names);
  if (found.empty())
    throw DataError(
        fmt::format("{} has no column '{}' or of another usual name for {}; the "
                    "columns of its first line: {}; name the right one: {} NAME",
                    name, role.names.front(), role.what, columns_of(table), role.option));
  if (found.size() > 1 && plain(table.columns[found[0]]) != role.names.front())
    throw DataError(fmt::format("{}: the columns '{}' and '{}' may both hold {}; name one: {} NAME",
                                name, table.columns[found[0]], table.columns[found[1]], role.what,
                                role.option));
  check_doubles(table, found.front(), name);
  return found.front();
}

bool holds_paths(const CsvTable& table, std::size_t column) {
  return std::ranges::any_of(table.rows, [&](const std::vector<std::string>& row) {
    const std::string_view field = trimmed_field(row[column]);
    return field.find_first_of("/\\") != field.npos || has_picture_ending(field);
  });
}

void rename_column(CsvTable& table, std::size_t column, const std::string& to) {
  for (std::string& other : table.columns)
    if (other == to) other += " (another)";
  table.columns[column] = to;
}

}  // namespace

std::size_t path_column(const CsvTable& table, const ColumnNames& columns,
                        const std::string& name) {
  return find_role(table, kPath, columns.path, name);
}

bool has_path_column(const CsvTable& table, const ColumnNames& columns) {
  if (!columns.path.empty() || !named(table, kPathNames).empty()) return true;
  return std::ranges::any_of(named(table, kPathIds),
                             [&](std::size_t column) { return holds_paths(table, column); });
}

bool has_label_column(const CsvTable& table, const ColumnNames& columns) {
  return !columns.label.empty() || !named(table, kLabelNames).empty();
}

std::size_t label_column(const CsvTable& table, const ColumnNames& columns,
                         const std::string& name) {
  return find_role(table, kLabel, columns.label, name);
}

Index label_text_column(const CsvTable& table, std::size_t label, const std::string& name) {
  for (const std::size_t column : named(table, kLabelTexts)) {
    if (column == label) continue;
    check_doubles(table, column, name);
    return static_cast<Index>(column);
  }
  return -1;
}

Index split_column(const CsvTable& table, const std::string& name) {
  const auto is_split = [](const std::string& text) {
    const std::string split = canonical_split(trimmed_field(text));
    return split == "train" || split == "valid" || split == "test";
  };
  for (const std::size_t column : named(table, kSplitNames)) {
    const bool some = std::ranges::any_of(
        table.rows, [&](const std::vector<std::string>& row) { return is_split(row[column]); });
    if (!some && plain(table.columns[column]) != kSplitNames[0]) continue;  // another kind of set
    check_doubles(table, column, name);
    return static_cast<Index>(column);
  }
  return -1;
}

std::size_t require_column(const CsvTable& table, const std::string& column,
                           const std::string& name) {
  const Index found = find_trimmed(table, column);
  if (found >= 0) return static_cast<std::size_t>(found);
  throw DataError(
      fmt::format("{} has no column '{}'; its columns: {}", name, column, columns_of(table)));
}

std::string positive_by_name(std::string_view column) {
  const std::string name = plain(column);
  const bool asks = name.starts_with("is");
  const int label = ClassNames().label_of(asks ? std::string_view(name).substr(2) : name);
  return label < 0 ? "" : label == 1 ? "fake" : "real";
}

void name_columns(CsvTable& table, const ColumnNames& columns, const std::string& name) {
  if (has_label_column(table, columns))
    rename_column(table, label_column(table, columns, name), "label");
  name_path_column(table, columns, name);
}

void name_path_column(CsvTable& table, const ColumnNames& columns, const std::string& name) {
  if (!has_path_column(table, columns)) return;
  const std::size_t path = path_column(table, columns, name);
  rename_column(table, path, "path");
  for (std::vector<std::string>& row : table.rows) row[path] = trimmed_field(row[path]);
  const auto has_slash = [&](const std::vector<std::string>& row) {
    return row[path].find('/') != std::string::npos;
  };
  if (std::ranges::any_of(table.rows, has_slash)) return;
  for (std::vector<std::string>& row : table.rows) std::ranges::replace(row[path], '\\', '/');
}

}  // namespace dfengine
