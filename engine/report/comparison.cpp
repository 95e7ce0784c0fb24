#include "engine/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/report/evaluation_charts.h"
#include "engine/report/training_charts.h"
#include "engine/train/run_files.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

// Of UTF-8 text, as a terminal shows it.
std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::vector<RunHistory> read_runs(const std::vector<std::filesystem::path>& folders) {
  std::vector<RunHistory> runs;
  for (const std::filesystem::path& folder : folders) {
    RunHistory run = read_run(folder);
    const std::string name = run.name;
    const auto taken = [&](const RunHistory& other) { return other.name == run.name; };
    for (int i = 2; std::ranges::any_of(runs, taken); ++i)
      run.name = fmt::format("{} ({})", name, i);
    runs.push_back(std::move(run));
  }
  return runs;
}

Table comparison_table(const std::vector<RunHistory>& runs) {
  Table table{"Figures on the validation pictures, of the epoch whose model was kept",
              {"run", "ROC-AUC", "accuracy at 0.5", "loss, uncalibrated", "training loss", "epoch",
               "of", "minutes"},
              {}};
  for (const RunHistory& run : runs) {
    double seconds = 0;
    for (const EpochRow& row : run.rows) seconds += row.seconds;
    std::vector<std::string> cells = {run.name};
    if (const EpochRow* best = run.best()) {
      cells.insert(cells.end(), {figure(best->valid_auc, 4), figure(best->valid_accuracy, 4),
                                 figure(best->valid_loss, 4), figure(best->train_loss, 4),
                                 std::to_string(best->epoch)});
    } else {
      cells.insert(cells.end(), 5, "n/a");
    }
    cells.push_back(std::to_string(run.rows.size()));
    cells.push_back(figure(seconds / 60, 1));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table settings_table(const std::vector<RunHistory>& runs) {
  Table table{"Settings in which the runs differ", {"run"}, {}};
  // Where a run lies says nothing about it.
  for (std::string& name : differing_arguments(runs))
    if (name != "output") table.columns.push_back(std::move(name));
  for (const RunHistory& run : runs) {
    std::vector<std::string> cells = {run.name};
    for (std::size_t i = 1; i < table.columns.size(); ++i)
      cells.push_back(argument(run, table.columns[i]));
    table.rows.push_back(std::move(cells));
  }
  table.text_columns = table.columns.size();
  return table;
}

void write_comparison(const std::filesystem::path& output, const std::vector<RunHistory>& runs) {
  const std::vector<NamedChart> charts = comparison_charts(runs);
  write_charts(output / "charts", charts);
  Page page("Comparison of runs", fmt::format("{} runs, validation figures", runs.size()));
  page.section("Result");
  page.table(comparison_table(runs));
  page.charts(elements(charts));
  const Table settings = settings_table(runs);
  if (settings.columns.size() > 1) {
    page.section("Settings");
    page.table(settings);
  }
  write_text(output / "compare.html", page.html());
}

std::string plain_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(columns_of(column));
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], columns_of(row[i]));
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - columns_of(row[i]), ' ');
      line += (i > 0 ? "  " : "") + (i < table.text_columns ? row[i] + space : space + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add(table.columns);
  for (const auto& row : table.rows) add(row);
  return text;
}

}  // namespace dfengine::report
