// Several runs side by side.
#pragma once

#include "engine/report/html.h"
#include "engine/report/run_history.h"

namespace dfengine::report {

// One row a run: figures of the epoch that was kept. Runs of the same folder name are told apart by
// a number.
std::vector<RunHistory> read_runs(const std::vector<std::filesystem::path>& folders);
Table comparison_table(const std::vector<RunHistory>& runs);
// The settings in which the runs differ, a column each.
Table settings_table(const std::vector<RunHistory>& runs);

// OUTPUT/compare.html and OUTPUT/charts/*.svg.
void write_comparison(const std::filesystem::path& output, const std::vector<RunHistory>& runs);

// The table as text for a terminal, columns aligned.
std::string plain_text(const Table& table);

}  // namespace dfengine::report
