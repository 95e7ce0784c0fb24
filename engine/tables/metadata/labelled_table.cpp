#include "engine/tables/metadata/labelled_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "engine/evaluate/metrics/curves.h"
#include "engine/tables/metadata/values.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr std::size_t kMostRows = 20000;
constexpr int kFolds = 5;
constexpr std::size_t kBins = 10;
constexpr std::uint64_t kSeed = 0;

bool named_like_a_label(const std::string& name) {
  static const std::set<std::string> kNames = {"label",  "labels",       "label_str", "class",
                                               "target", "ground_truth", "is_fake",   "is_real",
                                               "fake",   "real"};
  return kNames.contains(lower_case(name));
}

// Counts the rows that there are, or those of the file they were taken from.
bool counts_rows(const std::vector<std::string_view>& values, const std::vector<Index>& lines) {
  double before = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto here = parse_number(trimmed(values[i]));
    if (!here) return false;
    const double step = *here - before;
    if (i > 0 && step != 1 && step != static_cast<double>(lines[i] - lines[i - 1])) return false;
    before = *here;
  }
  return values.size() > 2;
}

// One more feature per tenth of a standardised column's rows.
void append_tenths(Matrix& x) {
  std::vector<double> sorted;
  for (Index i = 0; i < x.rows; ++i) sorted.push_back(x.row(i)[0]);
  std::ranges::sort(sorted);
  Matrix wide{x.rows, x.cols + static_cast<Index>(kBins), {}};
  for (Index i = 0; i < x.rows; ++i) {
    const auto row = x.row(i);
    wide.values.insert(wide.values.end(), row.begin(), row.end());
    const auto rank =
        static_cast<std::size_t>(std::ranges::lower_bound(sorted, row[0]) - sorted.begin());
    for (std::size_t bin = 0; bin < kBins; ++bin)
      wide.values.push_back(rank * kBins / sorted.size() == bin ? 1.0 : 0.0);
  }
  x = std::move(wide);
}

double lone_auc(const LabelledTable& data, const std::string& column, std::span<const int> fold) {
  const Encoder encoder = fit_encoder(data.table, {column}, data.name);
  Matrix x = encoder.encode(data.table, data.name);
  if (encoder.columns[0].type == ColumnType::Numeric) append_tenths(x);
  const std::vector<double> penalty(static_cast<std::size_t>(x.cols), kDefaultPenalty);
  return roc_auc(out_of_fold_logits(x, data.label, fold, penalty), data.label);
}

LabelledTable thinned(const LabelledTable& data) {
  const std::size_t step = (data.label.size() + kMostRows - 1) / kMostRows;
  LabelledTable out{data.name, {data.table.columns, {}, {}}, {}};
  for (std::size_t i = 0; i < data.label.size(); i += step) {
    out.table.rows.push_back(data.table.rows[i]);
    out.table.lines.push_back(data.table.lines[i]);
    out.label.push_back(data.label[i]);
  }
  return out;
}

LabelledTable rows_of_split(LabelledTable data, const std::string& split) {
  const Index column = split_column(data.table, data.name);
  if (column < 0) return data;
  LabelledTable out{data.name, {data.table.columns, {}, {}}, {}};
  for (std::size_t i = 0; i < data.label.size(); ++i) {
    if (row_split(data.table, data.name, i, at(column)) != split && !split.empty()) continue;
    out.table.rows.push_back(std::move(data.table.rows[i]));
    out.table.lines.push_back(data.table.lines[i]);
    out.label.push_back(data.label[i]);
  }
  if (out.label.empty())
    throw DataError(
        fmt::format("{} is named for split {}, which its column {} says in no row; name another "
                    "table, or rename the column where it means something else",
                    data.name, split, data.table.columns[at(column)]));
  out.table.columns.erase(out.table.columns.begin() + column);
  for (std::vector<std::string>& row : out.table.rows) row.erase(row.begin() + column);
  return out;
}

void judge(ColumnVerdict& v, bool counter) {
  v.kind = ColumnVerdict::Kind::Leak;
  if (v.type == ColumnType::Constant) {
    v.kind = ColumnVerdict::Kind::Constant;
    v.reason = "one value only";
  } else if (named_like_a_label(v.name)) {
    v.reason = "named like a label";
  } else if (v.auc >= kLeakAuc) {
    v.reason = fmt::format("tells the classes apart by itself (AUC {:.3f})", v.auc);
  } else if (counter) {
    v.reason = "counts the rows";
  } else if (v.type == ColumnType::Text) {
    v.reason = "differs in nearly every row: an id or a path";
  } else {
    v.kind = ColumnVerdict::Kind::Used;
  }
}

}  // namespace

LabelledTable label_table(CsvTable table, const ClassNames& names,
                          const std::string& label_positive, const std::string& name) {
  if (table.rows.empty()) throw DataError(name + ": there are no rows");
  std::string rule;
  std::vector<int> label = table_labels(table, name, names, label_positive, {}, rule);
  return {name, std::move(table), std::move(label)};
}

LabelledTable read_labelled_csv(const std::filesystem::path& file, const TableOptions& options) {
  CsvTable table = read_csv(file);
  const std::string name = file.string();
  const bool named = has_label_column(table, options.columns);
  const std::string positive =
      named && options.label_positive.empty()
          ? positive_by_name(table.columns[label_column(table, options.columns, name)])
          : options.label_positive;
  name_columns(table, options.columns, name);
  return rows_of_split(label_table(std::move(table), options.names, positive, name), options.split);
}

std::vector<ColumnVerdict> judge_columns(const LabelledTable& data) {
  const LabelledTable some = thinned(data);
  const std::vector<int> fold = stratified_folds(some.label, kFolds, kSeed);
  std::vector<ColumnVerdict> verdicts;
  std::set<std::string> seen;  // of two columns of one name the first is the one that is used
  for (const std::string& name : data.table.columns) {
    if (name == kLabelColumn || !seen.insert(name).second) continue;
    const auto values = column_values(data.table, data.table.find(name));
    ColumnVerdict v;
    v.name = name;
    v.type = fit_column(name, values).type;
    v.auc = v.type == ColumnType::Constant ? std::numeric_limits<double>::quiet_NaN()
                                           : lone_auc(some, name, fold);
    judge(v, counts_rows(values, data.table.lines));
    verdicts.push_back(std::move(v));
  }
  return verdicts;
}

std::vector<std::string> choose_columns(std::vector<ColumnVerdict>& verdicts,
                                        const std::vector<std::string>& exclude, bool keep_leaks) {
  for (const std::string& name : exclude) {
    const auto found = std::ranges::find(verdicts, name, &ColumnVerdict::name);
    if (found == verdicts.end())
      throw UsageError("--exclude '" + name + "': the training table has no such column");
    found->kind = ColumnVerdict::Kind::Excluded;
    found->reason = "excluded by --exclude";
  }
  std::vector<std::string> used;
  for (const ColumnVerdict& v : verdicts)
    if (v.kind == ColumnVerdict::Kind::Used || (keep_leaks && v.kind == ColumnVerdict::Kind::Leak))
      used.push_back(v.name);
  return used;
}

}  // namespace dfengine
