// dfengine compare: several runs in one table and on one page.
#include "engine/report/comparison.h"

#include <fmt/format.h>

#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/commands.h"

namespace dfengine {
namespace {

struct Arguments {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path output;
};

void run_compare(const Arguments& a) {
  const std::vector<report::RunHistory> runs = report::read_runs(a.runs);
  fmt::print("{}", report::plain_text(report::comparison_table(runs)));
  const report::Table settings = report::settings_table(runs);
  if (settings.columns.size() > 1) fmt::print("\n{}", report::plain_text(settings));
  if (a.output.empty()) return;
  report::write_comparison(a.output, runs);
  fmt::print("\n{}\n", (a.output / "compare.html").string());
}

}  // namespace

void add_compare(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "compare", "Show runs side by side, with the settings that differ.",
      "Prints the validation figures of each run's kept epoch and the settings in which the "
      "runs differ. OUTPUT becomes a folder with compare.html, one file without scripts or "
      "network, with the validation curves over each other.",
      run_compare);
  command.add_option("RUN", a.runs, "Run folders, as train writes them.")->required();
  command.add_option("--output", a.output, "Folder for compare.html.")
      ->default_str("none, the table is only printed");
}

}  // namespace dfengine
