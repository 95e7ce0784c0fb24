#include "engine/data/sets/csv_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLabelNames[] = {"real", "fake"};

[[noreturn]] void fail_row(const std::string& name, Index line, const std::string& what) {
  throw DataError(fmt::format("{}, line {}: {}", name, line, what));
}

std::size_t require_column(const CsvTable& table, const std::string& column,
                           const std::string& name) {
  const Index found = table.find(column);
  if (found >= 0) return static_cast<std::size_t>(found);
  std::string names;
  for (const std::string& c : table.columns)
    names += names.empty() ? "'" + c + "'" : ", '" + c + "'";
  throw DataError(fmt::format("{} has no column '{}'; its columns: {}", name, column, names));
}

// What a row says about its class. -1: nothing.
struct Hints {
  int number = -1;  // label, as 0 or 1
  int text = -1;    // label_str, or a label in words
  int folder = -1;  // the folder nearest to the file that bears a class's name
};

int folder_hint(std::string_view path, const ClassNames& names) {
  std::size_t end = path.find_last_of('/');
  while (end != std::string_view::npos) {
    const std::size_t slash = end == 0 ? std::string_view::npos : path.rfind('/', end - 1);
    const std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    const int label = names.label_of(path.substr(begin, end - begin));
    if (label >= 0) return label;
    end = slash;
  }
  return -1;
}

int label_number(const std::string& text) {
  if (text == "0" || text == "0.0") return 0;
  return text == "1" || text == "1.0" ? 1 : -1;
}

std::vector<Hints> read_hints(const CsvTable& table, const std::string& name,
                              const ClassNames& names) {
  const std::size_t label = require_column(table, "label", name);
  const Index text = table.find("label_str"), path = table.find("path");
  std::vector<Hints> hints;
  hints.reserve(table.rows.size());
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<std::string>& row = table.rows[i];
    Hints h;
    h.number = label_number(row[label]);
    if (h.number < 0) {
      h.text = names.label_of(row[label]);
      if (h.text < 0) fail_row(name, table.lines[i], "label '" + row[label] + "' is unknown");
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
  throw DataError(
      fmt::format("{}: in {} of {} rows label, label_str and folder disagree; the first:{}", name,
                  wrong, hints.size(), first));
}

std::string known_split(const std::string& text) {
  const std::string lower = lower_case(text);
  if (lower == "train" || lower == "training") return "train";
  if (lower == "valid" || lower == "val" || lower == "validation") return "valid";
  return lower == "test" || lower == "testing" ? "test" : "";
}

// Folders at most two levels below root, root first.
std::vector<fs::path> roots_below(const fs::path& root) {
  std::vector<fs::path> folders = {root};
  for (std::size_t first = 0, depth = 0; depth < 2; ++depth) {
    const std::size_t end = folders.size();
    std::vector<fs::path> next;
    for (; first < end; ++first) {
      std::error_code error, ignored;
      for (fs::directory_iterator it(folders[first], error), stop; !error && it != stop;
           it.increment(error)) {
        if (it->is_directory(ignored)) next.push_back(it->path());
      }
    }
    std::sort(next.begin(), next.end());
    folders.insert(folders.end(), next.begin(), next.end());
  }
  return folders;
}

fs::path find_root(const fs::path& file, const fs::path& wanted,
                   const std::vector<Sample>& samples) {
  constexpr std::size_t kTried = 16;
  const std::size_t tried = std::min(samples.size(), kTried);
  const fs::path beside = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const auto holds = [&](const fs::path& root) {
    return std::any_of(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(tried),
                       [&](const Sample& s) {
                         std::error_code ignored;
                         return fs::exists(root / s.relative, ignored);
                       });
  };
  std::vector<fs::path> starts = {beside};
  if (!wanted.empty()) starts = {wanted, beside};
  for (const fs::path& start : starts)
    if (holds(start)) return start;
  for (const fs::path& start : starts)
    for (const fs::path& root : roots_below(start))
      if (holds(root)) return root;
  throw DataError(
      fmt::format("{}: none of its first {} files, such as {}, lies under {}; say where the paths "
                  "begin (--data)",
                  file.string(), tried, samples.front().relative, starts.front().string()));
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
                              std::string& rule) {
  const std::vector<Hints> hints = read_hints(table, name, names);
  const bool numbers = std::ranges::any_of(hints, [](const Hints& h) { return h.number >= 0; });
  const bool folders = tells_apart(hints, &Hints::folder);
  const bool texts = std::ranges::any_of(hints, [](const Hints& h) { return h.text >= 0; });
  int positive = 1;
  std::string by = "label in words";
  if (numbers && !label_positive.empty()) {
    positive = label_positive == "fake" ? 1 : 0;
    by = "--label-positive";
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

TableSource read_table_source(const fs::path& file, const TableOptions& options) {
  const std::string name = file.string();
  const CsvTable table = read_csv(file);
  const std::size_t path = require_column(table, "path", name);
  if (table.rows.empty()) throw DataError(name + ": has no row below its first line");
  TableSource source;
  const std::vector<int> labels =
      table_labels(table, name, options.names, options.label_positive, source.label_rule);
  const Index split = table.find("split");
  const bool grouped = !options.group_column.empty();
  const std::size_t group = grouped ? require_column(table, options.group_column, name) : 0;
  source.dataset.split = "all";
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<std::string>& row = table.rows[i];
    if (row[path].empty()) fail_row(name, table.lines[i], "no path");
    source.dataset.samples.push_back({row[path], labels[i]});
    if (grouped) source.groups.push_back(row[group]);
    if (split < 0) continue;
    const std::string& text = row[at(split)];
    source.splits.push_back(known_split(text));
    if (source.splits.back().empty()) {
      fail_row(name, table.lines[i], "split '" + text + "' is none of train, valid, test");
    }
  }
  source.dataset.root = find_root(file, options.root, source.dataset.samples);
  sort_by_path(source);
  return source;
}

}  // namespace dfengine
