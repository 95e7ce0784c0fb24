// Several runs side by side.
#pragma once

#include "engine/report/html.h"
#include "engine/report/run_history.h"

namespace dfengine::report {

// Runs whose folders have the same name are told apart by a number.
std::vector<RunHistory> read_runs(const std::vector<std::filesystem::path>& folders);
// Each run has a row with the figures of the epoch that was kept.
Table comparison_table(const std::vector<RunHistory>& runs);
// Each setting in which the runs differ has a column.
Table settings_table(const std::vector<RunHistory>& runs);

// Writes OUTPUT/compare.html and OUTPUT/charts/*.svg.
void write_comparison(const std::filesystem::path& output, const std::vector<RunHistory>& runs);

// The table as text for a terminal, with aligned columns.
std::string plain_text(const Table& table);

}  // namespace dfengine::report
