#include "engine/tables/metadata/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "engine/tables/metadata/values.h"
#include "kernels/base/error.h"
#include "kernels/base/json_integer.h"
#include "weights/tensor_file.h"

namespace dfengine {
namespace {

constexpr double kFarthest = 10;        // standard deviations
constexpr double kFrequentWord = 0.05;  // share of the rows
constexpr std::size_t kFewLevels = 20;

std::vector<double> time_parts(const Timestamp& t) {
  std::vector<double> parts = {static_cast<double>(t.year)};
  const auto circle = [&](double turn) {
    parts.push_back(std::sin(2 * std::numbers::pi * turn));
    parts.push_back(std::cos(2 * std::numbers::pi * turn));
  };
  circle((t.month - 1) / 12.0);
  circle(t.weekday() / 7.0);
  circle((t.hour + t.minute / 60.0) / 24.0);
  return parts;
}

std::vector<double> text_parts(std::string_view text) {
  const auto digits = std::ranges::count_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return {static_cast<double>(text.size()),
          text.empty() ? 0.0 : static_cast<double>(digits) / static_cast<double>(text.size())};
}

// The numbers to standardise that a value stands for; empty where it is missing or not of the type.
std::vector<double> parts_of(ColumnType type, std::string_view value) {
  if (is_missing(value)) return {};
  switch (type) {
    case ColumnType::Numeric: {
      const auto number = parse_number(value);
      return number ? std::vector{*number} : std::vector<double>{};
    }
    case ColumnType::Timestamp: {
      const auto time = parse_timestamp(value);
      return time ? time_parts(*time) : std::vector<double>{};
    }
    case ColumnType::Text:
      return text_parts(value);
    default:
      return {};
  }
}

// How many numbers that are.
std::size_t part_count(ColumnType type) {
  if (type == ColumnType::Timestamp) return 7;
  if (type == ColumnType::Text) return 2;
  return type == ColumnType::Numeric ? 1 : 0;
}

ColumnType infer_type(const std::vector<std::string_view>& values) {
  std::set<std::string_view> distinct;
  std::size_t present = 0, numbers = 0, times = 0;
  for (std::string_view raw : values) {
    const std::string_view value = trimmed(raw);
    if (is_missing(value)) {
      distinct.insert("");
      continue;
    }
    ++present;
    distinct.insert(value);
    numbers += parse_number(value).has_value();
    times += parse_timestamp(value).has_value();
  }
  if (distinct.size() < 2) return ColumnType::Constant;
  if (numbers == present) return ColumnType::Numeric;
  if (times == present) return ColumnType::Timestamp;
  const bool few = distinct.size() <= kFewLevels || distinct.size() * 2 <= values.size();
  return few ? ColumnType::Categorical : ColumnType::Text;
}

void fit_parts(ColumnEncoding& c, const std::vector<std::string_view>& values) {
  const std::size_t width = part_count(c.type);
  if (width == 0) return;
  std::vector<std::vector<double>> rows;
  for (std::string_view raw : values) {
    rows.push_back(parts_of(c.type, trimmed(raw)));
    if (rows.back().empty()) {
      c.missing = true;
      rows.pop_back();
    }
  }
  const auto n = static_cast<double>(rows.size());
  c.mean.assign(width, 0);
  c.std_dev.assign(width, 0);
  // Divided before they are added: the sum of the greatest numbers stays finite.
  for (const auto& row : rows)
    for (std::size_t j = 0; j < width; ++j) c.mean[j] += row[j] / n;
  for (const auto& row : rows)
    for (std::size_t j = 0; j < width; ++j)
      c.std_dev[j] = std::hypot(c.std_dev[j], (row[j] - c.mean[j]) / std::sqrt(n));
  for (double& s : c.std_dev)
    if (!(s > 0 && std::isfinite(s))) s = 1;
}

// Those that enough rows have, most frequent first; ties by name, so that order never varies.
std::vector<std::string> frequent(const std::map<std::string, Index>& counts, double least,
                                  bool& others) {
  std::vector<std::pair<std::string, Index>> levels(counts.begin(), counts.end());
  std::ranges::stable_sort(levels,
                           [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> kept;
  for (const auto& [text, count] : levels)
    if (static_cast<double>(count) >= least && kept.size() < kMaxLevels) kept.push_back(text);
  others = kept.size() < levels.size();
  return kept;
}

std::string level_of(std::string_view raw) {
  const std::string_view value = trimmed(raw);
  return is_missing(value) ? std::string() : std::string(value);
}

void fit_levels(ColumnEncoding& c, const std::vector<std::string_view>& values) {
  const auto rows = static_cast<double>(values.size());
  std::map<std::string, Index> counts;
  bool others = false;
  if (c.type == ColumnType::Categorical) {
    for (std::string_view raw : values) ++counts[level_of(raw)];
    c.levels = frequent(counts, std::max(2.0, kRareShare * rows), c.rare);
  } else if (c.type == ColumnType::Text) {
    for (std::string_view raw : values) {
      const auto found = words(raw);
      for (const std::string& word : std::set<std::string>(found.begin(), found.end()))
        ++counts[word];
    }
    std::erase_if(counts, [&](const auto& word) { return word.second == std::ssize(values); });
    c.levels = frequent(counts, std::max(2.0, kFrequentWord * rows), others);
  }
}

void encode_value(const ColumnEncoding& c, std::string_view raw, std::vector<double>& out) {
  const std::string_view value = trimmed(raw);
  const std::vector<double> parts = parts_of(c.type, value);
  for (std::size_t j = 0; j < c.mean.size(); ++j)
    out.push_back(parts.empty()
                      ? 0.0
                      : std::clamp((parts[j] - c.mean[j]) / c.std_dev[j], -kFarthest, kFarthest));
  if (c.type == ColumnType::Categorical) {
    const auto found = std::ranges::find(c.levels, level_of(raw));
    for (auto level = c.levels.begin(); level != c.levels.end(); ++level)
      out.push_back(level == found ? 1.0 : 0.0);
    if (c.rare) out.push_back(found == c.levels.end() ? 1.0 : 0.0);
  } else if (c.type == ColumnType::Text) {
    const auto found = words(value);
    for (const std::string& word : c.levels)
      out.push_back(std::ranges::find(found, word) != found.end() ? 1.0 : 0.0);
  }
  if (c.missing) out.push_back(parts.empty() ? 1.0 : 0.0);
}

Index find_column(const CsvTable& table, const std::string& column, const std::string& name) {
  const Index found = table.find(column);
  if (found < 0) throw DataError(fmt::format("{}: there is no column '{}'", name, column));
  return found;
}

// Whether a field stands for nothing, though it says something.
bool is_unfit(ColumnType type, std::string_view raw) {
  const std::string_view value = trimmed(raw);
  return part_count(type) > 0 && !is_missing(value) && parts_of(type, value).empty();
}

// Of a column that was read from a file.
void check(const ColumnEncoding& c) {
  const auto finite = [](double v) { return std::isfinite(v); };
  const bool sizes = c.mean.size() == part_count(c.type) && c.std_dev.size() == c.mean.size();
  const bool values = std::ranges::all_of(c.mean, finite) &&
                      std::ranges::all_of(c.std_dev, [](double v) { return v > 0; });
  const bool words = c.type == ColumnType::Categorical || c.type == ColumnType::Text;
  const bool levels = c.levels.size() <= kMaxLevels && (words || c.levels.empty()) &&
                      (!c.rare || c.type == ColumnType::Categorical);
  if (!sizes || !values || !levels)
    throw ModelFileError(fmt::format("metadata: column '{}' is no {} column as dfengine writes it",
                                     c.name, name_of(c.type)));
}

}  // namespace

Index ColumnEncoding::features() const {
  return std::ssize(mean) + std::ssize(levels) + (rare ? 1 : 0) + (missing ? 1 : 0);
}

ColumnEncoding fit_column(const std::string& name, const std::vector<std::string_view>& values) {
  ColumnEncoding c;
  c.name = name;
  c.type = infer_type(values);
  fit_parts(c, values);
  fit_levels(c, values);
  return c;
}

std::vector<std::string_view> column_values(const CsvTable& table, Index column) {
  std::vector<std::string_view> values;
  for (const auto& row : table.rows) values.push_back(row[at(column)]);
  return values;
}

Index Encoder::features() const {
  Index sum = 0;
  for (const ColumnEncoding& c : columns) sum += c.features();
  return sum;
}

Matrix Encoder::encode(const CsvTable& table, const std::string& name) const {
  std::vector<std::size_t> from;
  for (const ColumnEncoding& c : columns)
    from.push_back(static_cast<std::size_t>(find_column(table, c.name, name)));
  Matrix x{std::ssize(table.rows), features(), {}};
  x.values.reserve(static_cast<std::size_t>(x.rows * x.cols));
  for (const auto& row : table.rows)
    for (std::size_t k = 0; k < columns.size(); ++k)
      encode_value(columns[k], row[from[k]], x.values);
  return x;
}

std::set<std::string> Encoder::unfit_fields(const CsvTable& table, const std::string& name) const {
  std::set<std::string> lines;
  for (const ColumnEncoding& c : columns) {
    const auto from = static_cast<std::size_t>(find_column(table, c.name, name));
    const auto is_here = [&](const auto& row) { return is_unfit(c.type, row[from]); };
    const auto count = std::ranges::count_if(table.rows, is_here);
    if (count == 0) continue;
    const auto first = std::ranges::find_if(table.rows, is_here);
    const std::string line = fmt::format(
        "{}: {} of {} fields of column '{}' are no {}, first '{}' in line {}", name, count,
        table.rows.size(), c.name, c.type == ColumnType::Numeric ? "numbers" : "dates or times",
        weights::printable((*first)[from]), table.lines[at(first - table.rows.begin())]);
    if (2 * count > std::ssize(table.rows))
      throw DataError(line + ": correct them, or leave empty what is not known");
    lines.insert(line + ": they count as missing");
  }
  return lines;
}

Encoder fit_encoder(const CsvTable& table, const std::vector<std::string>& columns,
                    const std::string& name) {
  Encoder e;
  for (const std::string& column : columns)
    e.columns.push_back(fit_column(column, column_values(table, find_column(table, column, name))));
  return e;
}

nlohmann::json to_json(const Encoder& encoder) {
  nlohmann::json columns = nlohmann::json::array();
  for (const ColumnEncoding& c : encoder.columns)
    columns.push_back({{"name", c.name},
                       {"type", name_of(c.type)},
                       {"mean", c.mean},
                       {"std", c.std_dev},
                       {"levels", c.levels},
                       {"rare", c.rare},
                       {"missing", c.missing}});
  return columns;
}

Encoder encoder_from_json(const nlohmann::json& json) {
  try {
    if (!json.is_array()) throw ModelFileError("metadata: the columns are not a list");
    Encoder encoder;
    for (const nlohmann::json& j : json) {
      ColumnEncoding c;
      j.at("name").get_to(c.name);
      c.type = parse_name<ColumnType, ModelFileError>(j.at("type").get<std::string>());
      j.at("mean").get_to(c.mean);
      j.at("std").get_to(c.std_dev);
      j.at("levels").get_to(c.levels);
      j.at("rare").get_to(c.rare);
      j.at("missing").get_to(c.missing);
      check(c);
      encoder.columns.push_back(std::move(c));
    }
    return encoder;
  } catch (const nlohmann::json::exception& e) {
    throw ModelFileError("metadata: a column is not as dfengine writes it: " + json_fault(e));
  }
}

}  // namespace dfengine
