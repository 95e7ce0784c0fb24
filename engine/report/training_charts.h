// The course of training as charts.
#pragma once

#include "engine/report/run_history.h"
#include "engine/report/svg_chart.h"
#include "engine/train/options.h"

namespace dfengine::report {

// A chart's element, and its file's name without extension.
struct NamedChart {
  std::string file, svg;
};

// Loss, accuracy and validation AUC by epoch of one run; the epoch that was kept is marked. The
// loss scale too, where there was one.
std::vector<NamedChart> training_charts(const RunHistory& run);

// The rate of every step, by epochs: the schedule, times what each epoch's rate shows that plateaus
// have taken from it.
NamedChart learning_rate_chart(const TrainOptions& options, Index steps_per_epoch,
                               const std::vector<EpochRow>& rows);

// Validation loss, accuracy and AUC of several runs, one line each.
std::vector<NamedChart> comparison_charts(const std::vector<RunHistory>& runs);

// FOLDER/NAME.svg for each, the folder made at need; each file atomic.
void write_charts(const std::filesystem::path& folder, const std::vector<NamedChart>& charts);
// Only their elements, for a page.
std::vector<std::string> elements(const std::vector<NamedChart>& charts);

}  // namespace dfengine::report
