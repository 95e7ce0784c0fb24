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

// What the kept model says of a run's validation pictures. Throws as read_valid_predictions.
Predictions valid_predictions(const TrainResult& run, const Model& kept, ThreadPool& pool);

// The same as write_evaluation_report in the folder of a run that came to its end, on its
// valid_predictions and with the course of training. `command` is as it was typed.
void write_run_report(const TrainResult& result, const Model& kept, const Predictions& valid,
                      ThreadPool& pool, const std::string& command,
                      const std::vector<Table>& tables);

}  // namespace dfengine::report
