#include "engine/metadata/labelled_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/metadata/values.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

enum class LabelOne { Real, Fake };

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// 0 for real, 1 for fake, -1 for neither word.
int word_label(std::string_view text) {
  const std::string word = lower(trimmed(text));
  return word == "fake" ? 1 : word == "real" ? 0 : -1;
}

// 0 or 1 as written, -1 for anything else.
int number_label(std::string_view text) {
  const auto number = parse_number(trimmed(text));
  return number == 0.0 ? 0 : number == 1.0 ? 1 : -1;
}

int row_label(const std::string& label, const std::string* label_word, LabelOne one,
              const std::string& where) {
  int value = word_label(label);
  const int number = number_label(label);
  if (value < 0 && number >= 0) value = one == LabelOne::Fake ? number : 1 - number;
  if (value < 0)
    throw DataError(fmt::format("{}: label '{}' is not 0, 1, real or fake", where, label));
  const int word = label_word == nullptr ? -1 : word_label(*label_word);
  if (label_word != nullptr && word < 0)
    throw DataError(
        fmt::format("{}: {} '{}' is not real or fake", where, kLabelWordColumn, *label_word));
  if (word >= 0 && word != value)
    throw DataError(fmt::format("{}: label '{}' and {} '{}' disagree", where, label,
                                kLabelWordColumn, *label_word));
  return value;
}

}  // namespace

LabelledTable label_table(CsvTable table, const std::string& label_positive,
                          const std::string& name) {
  LabelOne one = label_positive == "fake" ? LabelOne::Fake : LabelOne::Real;
  const Index label = table.find(kLabelColumn), words = table.find(kLabelWordColumn);
  if (label < 0 && words < 0)
    throw DataError(fmt::format("{}: there is no column '{}'", name, kLabelColumn));
  if (table.rows.empty()) throw DataError(name + ": there are no rows");
  const auto at = [](const std::vector<std::string>& row, Index column) -> const std::string& {
    return row[static_cast<std::size_t>(column)];
  };
  // The words say what the numbers mean.
  if (label >= 0 && words >= 0 && number_label(at(table.rows[0], label)) >= 0)
    one = number_label(at(table.rows[0], label)) == word_label(at(table.rows[0], words))
              ? LabelOne::Fake
              : LabelOne::Real;
  LabelledTable out{name, std::move(table), {}};
  for (std::size_t i = 0; i < out.table.rows.size(); ++i) {
    const auto& row = out.table.rows[i];
    out.label.push_back(row_label(at(row, label < 0 ? words : label),
                                  words < 0 ? nullptr : &at(row, words), one,
                                  fmt::format("{}, line {}", name, out.table.lines[i])));
  }
  return out;
}

LabelledTable read_labelled_csv(const std::filesystem::path& file,
                                const std::string& label_positive) {
  return label_table(read_csv(file), label_positive, file.string());
}

}  // namespace dfengine
