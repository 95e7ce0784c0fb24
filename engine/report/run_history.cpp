#include "engine/report/run_history.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/data/sets/csv.h"
#include "engine/train/run_files.h"
#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/read_file.h"

namespace dfengine::report {
namespace {

std::vector<std::pair<std::string, std::string>> read_arguments(const std::filesystem::path& file) {
  const auto json = nlohmann::json::parse(weights::read_text(file), nullptr, false);
  if (!json.is_object()) throw DataError(file.string() + ": not the arguments of a run");
  std::vector<std::pair<std::string, std::string>> arguments;
  for (const auto& [name, value] : json.items())
    arguments.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  return arguments;
}

double parse_number(const CsvTable& table, std::size_t row, const char* column,
                    const std::string& file) {
  const Index place = table.find(column);
  if (place < 0) throw DataError(file + ": no column " + column);
  const std::string& text = table.rows[row][at(place)];
  const auto number = number_of<double>(text);
  if (!number)
    throw DataError(file + ":" + std::to_string(table.lines[row]) + ": " + column + " is \"" +
                    text + "\", not a number");
  return *number;
}

std::vector<EpochRow> read_rows(const std::filesystem::path& file) {
  const CsvTable table = read_csv(file);
  std::vector<EpochRow> rows;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto number = [&](const char* column) {
      return parse_number(table, i, column, file.string());
    };
    const double epoch = number("epoch");
    if (!(epoch >= 1 && epoch <= 1e6))
      throw DataError(file.string() + ":" + std::to_string(table.lines[i]) + ": no such epoch");
    rows.push_back({static_cast<int>(epoch), number("train_loss"), number("train_accuracy"),
                    number("val_loss"), number("val_accuracy"), number("val_auc"), number("lr"),
                    number("loss_scale"), static_cast<Index>(number("skipped")), number("seconds"),
                    number("data_wait")});
  }
  return rows;
}

}  // namespace

const EpochRow* RunHistory::best() const {
  const EpochRow* best = nullptr;
  for (const EpochRow& row : rows)
    if (best == nullptr ||
        is_better(row.valid_auc, row.valid_loss, best->valid_auc, best->valid_loss))
      best = &row;
  return best;
}

RunHistory read_run(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(folder, error);
  RunHistory run;
  run.name = (error ? folder : whole).filename().string();
  if (!std::filesystem::exists(folder / kArguments, error))
    throw DataError(folder.string() + ": not the folder of a run: " + kArguments + " is missing");
  run.arguments = read_arguments(folder / kArguments);
  run.rows = read_rows(folder / kResults);
  return run;
}

std::string argument(const RunHistory& run, const std::string& name) {
  for (const auto& [key, value] : run.arguments)
    if (key == name) return value;
  return "";
}

std::vector<std::string> differing_arguments(const std::vector<RunHistory>& runs) {
  std::vector<std::string> names;
  for (const RunHistory& run : runs)
    for (const auto& own : run.arguments) {
      const bool differs = std::ranges::any_of(
          runs, [&](const RunHistory& other) { return argument(other, own.first) != own.second; });
      if (differs && std::ranges::find(names, own.first) == names.end()) names.push_back(own.first);
    }
  return names;
}

}  // namespace dfengine::report
