// The course of training as charts.
#pragma once

#include "engine/report/run_history.h"
#include "engine/report/svg_chart.h"
#include "engine/train/options.h"

namespace dfengine::report {

// A chart's element, and the name of its file without extension.
struct NamedChart {
  std::string file, svg;
};

// The loss, accuracy and validation AUC of one run by epoch, with the epoch that was kept marked.
// Where there was a loss scale, its chart follows.
std::vector<NamedChart> training_charts(const RunHistory& run);

// The learning rate of every step. It is the schedule's, times the factor by which plateaus have
// lowered it, which each epoch's rate shows.
NamedChart learning_rate_chart(const TrainOptions& options, Index steps_per_epoch,
                               const std::vector<EpochRow>& rows);

// The validation loss, accuracy and AUC of several runs, each as one line.
std::vector<NamedChart> comparison_charts(const std::vector<RunHistory>& runs);

// What the file of a confusion matrix begins with; its threshold follows.
inline constexpr const char* kMatrix = "confusion_";
// Writes FOLDER/NAME.svg for each, every file atomically, and makes the folder if it must. The
// confusion matrices of other thresholds go.
void write_charts(const std::filesystem::path& folder, const std::vector<NamedChart>& charts);
// The elements of the charts, for a page.
std::vector<std::string> elements(const std::vector<NamedChart>& charts);

}  // namespace dfengine::report
