// The pages that eval and train leave behind: report.html, and its charts as charts/*.svg.
#pragma once

#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/metrics/bootstrap.h"
#include "engine/report/html.h"
#include "engine/train/trainer.h"

namespace dfengine::report {

inline constexpr const char* kReport = "report.html";
inline constexpr const char* kCharts = "charts";

// A model's predictions on a labelled split, and all that is said about them.
struct Evaluation {
  const Model& model;
  ThreadPool& pool;
  const Dataset& dataset;
  const Predictions& predictions;          // of the samples of `dataset`, in its order
  const std::vector<Interval>& intervals;  // of metric_fields() at the model's threshold
  std::string model_name;
  std::string command;             // as it was typed, or empty
  std::vector<Table> tables = {};  // what else was measured: groups, changes, unsure answers
};

// Writes OUTPUT/report.html and OUTPUT/charts, every file atomically. Throws DataError where a
// picture to be shown can no longer be read.
void write_evaluation_report(const std::filesystem::path& output, const Evaluation& evaluation);

// The same in the folder of a run that came to its end, on the kept model's predictions of the
// validation pictures and with the course of training. `command` is as it was typed.
void write_run_report(const TrainResult& result, const Model& kept, int threads,
                      const std::string& command, const std::vector<Table>& tables);

}  // namespace dfengine::report
