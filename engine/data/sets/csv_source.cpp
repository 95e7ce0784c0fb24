#include "engine/data/sets/csv_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "engine/data/sets/table_paths.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLabelNames[] = {"real", "fake"};

[[noreturn]] void fail_row(const CsvTable& table, const std::string& name, std::size_t row,
                           std::size_t column, const std::string& what) {
  throw DataError(fmt::format("{}, line {}, column '{}': {}", name, table.lines[row],
                              table.columns[column], what));
}

// What a row says about its class. -1: nothing.
struct Hints {
  int number = -1;  // label, as 0 or 1
  int text = -1;    // label_str, or a label in words
  int folder = -1;  // the folder nearest to the file that bears a class's name
};

int folder_hint(std::string_view path, const ClassNames& names) {
  constexpr const char* kSlashes = "/\\";  // also those of Windows
  std::size_t end = path.find_last_of(kSlashes);
  while (end != std::string_view::npos) {
    const std::size_t slash =
        end == 0 ? std::string_view::npos : path.find_last_of(kSlashes, end - 1);
    const std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    const int label = names.label_of(path.substr(begin, end - begin));
    if (label >= 0) return label;
    end = slash;
  }
  return -1;
}

int label_number(std::string_view field) {
  const std::string text = lower_case(trimmed_field(field));
  const auto is_one_of = [&](std::initializer_list<std::string_view> words) {
    return std::ranges::count(words, text) > 0;
  };
  if (is_one_of({"0", "0.0", "false", "f", "no", "n"})) return 0;
  return is_one_of({"1", "1.0", "true", "t", "yes", "y"}) ? 1 : -1;
}

// `path` is -1 for a table without paths.
std::vector<Hints> read_hints(const CsvTable& table, const std::string& name,
                              const ClassNames& names, std::size_t label, Index path) {
  const Index text = label_text_column(table, label, name);
  std::vector<Hints> hints;
  hints.reserve(table.rows.size());
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<std::string>& row = table.rows[i];
    Hints h;
    h.number = label_number(row[label]);
    if (h.number < 0) {
      h.text = names.label_of(row[label]);
      if (h.text < 0)
        fail_row(
            table, name, i, label,
            fmt::format(
                "label '{}' is unknown; known are 0 and 1, true and false, yes and no, {} and {}; "
                "other names: --classes REAL,FAKE, another column: --label-column",
                row[label], names.example(0), names.example(1)));
    }
    if (text >= 0 && h.text < 0) h.text = names.label_of(row[at(text)]);
    if (path >= 0) h.folder = folder_hint(row[at(path)], names);
    hints.push_back(h);
  }
  return hints;
}

// A hint that is the same for all rows is a place (/home/ai/...), not a class.
bool tells_apart(const std::vector<Hints>& all, int Hints::*hint) {
  const auto has = [&](int label) {
    return std::ranges::any_of(all, [&](const Hints& h) { return h.*hint == label; });
  };
  return has(0) && has(1);
}

// What number 1 means: the class with which the hint agrees in most rows.
int positive_by(const std::vector<Hints>& all, int Hints::*hint) {
  Index same = 0, other = 0;
  for (const Hints& h : all) {
    if (h.number < 0 || h.*hint < 0) continue;
    ++(h.number == h.*hint ? same : other);
  }
  return same >= other ? 1 : 0;
}

std::string words(const Hints& h, int label) {
  std::string text = fmt::format("label {}", kLabelNames[label]);
  if (h.text >= 0) text += fmt::format(", label_str {}", kLabelNames[h.text]);
  if (h.folder >= 0) text += fmt::format(", folder {}", kLabelNames[h.folder]);
  return text;
}

// Every row's label against what else the row says.
void check_agreement(const CsvTable& table, const std::string& name,
                     const std::vector<Hints>& hints, const std::vector<int>& labels,
                     bool folders) {
  constexpr Index kShown = 5;
  Index wrong = 0;
  std::string first;
  for (std::size_t i = 0; i < hints.size(); ++i) {
    const Hints& h = hints[i];
    const bool text = h.text >= 0 && h.text != labels[i];
    const bool folder = folders && h.folder >= 0 && h.folder != labels[i];
    if (!text && !folder) continue;
    if (++wrong <= kShown) {
      first += fmt::format("\n  line {}: {}", table.lines[i], words(h, labels[i]));
    }
  }
  if (wrong == 0) return;
  throw DataError(fmt::format(
      "{}: in {} of {} rows label, label_str and folder disagree; the first:{}\nAnother "
      "column of labels: --label-column; other names of classes: --classes REAL,FAKE",
      name, wrong, hints.size(), first));
}

// Of the rows of one picture all must say the same of it.
void check_repeats(const CsvTable& table, const std::string& name, std::size_t path,
                   const char* what, const std::function<std::string_view(std::size_t row)>& said) {
  constexpr Index kShown = 5;
  Index wrong = 0;
  std::string first;
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::string_view field = trimmed_field(table.rows[i][path]);
    const std::size_t before = seen.try_emplace(in_one_form(std::string(field)), i).first->second;
    if (said(before) == said(i)) continue;
    if (++wrong <= kShown)
      first += fmt::format("\n  line {}: {}, line {}: {}, {}", table.lines[before], said(before),
                           table.lines[i], said(i), field);
  }
  if (wrong == 0) return;
  throw DataError(fmt::format(
      "{}: {} of {} rows give another {} to a picture that stands in the table already; the "
      "first:{}\nCorrect these rows or leave them out",
      name, wrong, table.rows.size(), what, first));
}

// Puts groups and splits into the order of the samples sorted by path.
void sort_by_path(TableSource& source) {
  std::vector<std::size_t> order(source.dataset.samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return source.dataset.samples[a].relative < source.dataset.samples[b].relative;
  });
  const auto reorder = [&](auto& values) {
    if (values.empty()) return;
    auto sorted = values;
    for (std::size_t i = 0; i < order.size(); ++i) sorted[i] = values[order[i]];
    values = std::move(sorted);
  };
  reorder(source.dataset.samples);
  reorder(source.groups);
  reorder(source.splits);
}

}  // namespace

std::vector<int> table_labels(const CsvTable& table, const std::string& name,
                              const ClassNames& names, const std::string& label_positive,
                              const ColumnNames& columns, std::string& rule) {
  const std::size_t label = label_column(table, columns, name);
  const Index path =
      has_path_column(table, columns) ? static_cast<Index>(path_column(table, columns, name)) : -1;
  const std::vector<Hints> hints = read_hints(table, name, names, label, path);
  const std::string by_name = positive_by_name(table.columns[label]);
  const bool numbers = std::ranges::any_of(hints, [](const Hints& h) { return h.number >= 0; });
  const bool folders = tells_apart(hints, &Hints::folder);
  const bool texts = std::ranges::any_of(hints, [](const Hints& h) { return h.text >= 0; });
  int positive = 1;
  std::string by = "label in words";
  if (numbers && !label_positive.empty()) {
    positive = label_positive == "fake" ? 1 : 0;
    by = "--label-positive";
  } else if (numbers && !by_name.empty()) {
    positive = by_name == "fake" ? 1 : 0;
    by = "the column's name";
  } else if (numbers && (texts || folders)) {
    positive = positive_by(hints, texts ? &Hints::text : &Hints::folder);
    by = texts ? "label_str" : "the folders in path";
  } else if (numbers) {
    throw UsageError(name +
                     ": nothing says whether label 1 is real or fake: --label-positive real|fake");
  }
  rule = numbers ? fmt::format("label 1 = {} (by {})", kLabelNames[positive], by) : by;
  std::vector<int> labels;
  labels.reserve(hints.size());
  for (const Hints& h : hints) {
    const int number = positive == 1 ? h.number : 1 - h.number;
    labels.push_back(h.number >= 0 ? number : h.text);
  }
  check_agreement(table, name, hints, labels, folders);
  return labels;
}

void require_one_label(const CsvTable& table, const std::string& name, std::size_t path,
                       const std::vector<int>& labels) {
  check_repeats(table, name, path, "label",
                [&](std::size_t row) { return kLabelNames[labels[row]]; });
}

std::string row_split(const CsvTable& table, const std::string& name, std::size_t row,
                      std::size_t column) {
  const std::string& text = table.rows[row][column];
  std::string split = canonical_split(trimmed_field(text));
  if (split != "train" && split != "valid" && split != "test")
    fail_row(table, name, row, column,
             fmt::format("split '{}' is none of train, valid, test; rename the column where it "
                         "means something else",
                         text));
  return split;
}

TableSource read_table_source(const fs::path& file, const TableOptions& options) {
  const std::string name = file.string();
  const CsvTable table = read_csv(file);
  const std::size_t path = path_column(table, options.columns, name);
  if (table.rows.empty()) throw DataError(name + ": has no row below its first line");
  TableSource source;
  const std::vector<int> labels = table_labels(table, name, options.names, options.label_positive,
                                               options.columns, source.label_rule);
  require_one_label(table, name, path, labels);
  const Index split = split_column(table, name);
  if (split >= 0) source.split_column = table.columns[at(split)];
  const bool grouped = !options.group_column.empty();
  const std::size_t group = grouped ? require_column(table, options.group_column, name) : 0;
  source.dataset.split = "all";
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<std::string>& row = table.rows[i];
    paths.emplace_back(trimmed_field(row[path]));
    if (paths.back().empty())
      fail_row(table, name, i, path, "no path; another column: --path-column");
    source.dataset.samples.push_back({"", labels[i]});
    if (grouped) {
      source.groups.emplace_back(trimmed_field(row[group]));
      source.dataset.samples.back().group = source.groups.back();
    }
    if (split < 0) continue;
    source.splits.push_back(row_split(table, name, i, at(split)));
  }
  if (split >= 0)
    check_repeats(table, name, path, "split",
                  [&](std::size_t row) -> std::string_view { return source.splits[row]; });
  TablePaths placed = place_paths(std::move(paths), file, options.root, options.split);
  for (std::size_t i = 0; i < placed.relative.size(); ++i)
    source.dataset.samples[i].relative = std::move(placed.relative[i]);
  source.dataset.root = placed.root;
  source.label_rule += placed.rule;
  sort_by_path(source);
  return source;
}

}  // namespace dfengine
