#include "engine/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/data/digest.h"
#include "engine/report/environment.h"
#include "engine/report/evaluation_charts.h"
#include "engine/report/mistakes.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/train/run_files.h"
#include "engine/train/schedule.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

constexpr std::size_t kMistakes = 6;  // of each class

std::string interval_of(std::span<const Interval> intervals, const char* key) {
  const std::span<const MetricField> fields = metric_fields();
  for (std::size_t i = 0; i < std::min(fields.size(), intervals.size()); ++i)
    if (fields[i].key == std::string_view(key)) return "95 %: " + interval_text(intervals[i]);
  return "";
}

// Puts the evaluation's parts onto the page. Charts are also returned, for their files.
class EvaluationPage {
 public:
  EvaluationPage(Page& page, const Evaluation& e)
      : page_(page),
        e_(e),
        at_threshold_(
            compute_metrics(e.predictions.scores(), e.predictions.label, e.model.threshold)),
        at_half_(compute_metrics(e.predictions.scores(), e.predictions.label, 0.5)) {}

  void tiles() {
    const auto tile = [&](const char* name, double value, const char* key) {
      return Tile{name, figure(value, 3), interval_of(e_.intervals, key)};
    };
    page_.tiles({tile("Balanced accuracy", at_threshold_.balanced_accuracy, "balanced_accuracy"),
                 tile("ROC-AUC", at_threshold_.roc_auc, "roc_auc"),
                 tile("Recall of fakes", at_threshold_.recall, "recall"),
                 tile("Recall of reals", at_threshold_.specificity, "specificity"),
                 tile("Calibration error", at_threshold_.ece, "ece")});
  }

  std::vector<NamedChart> figures() {
    std::vector<NamedChart> charts =
        evaluation_charts(e_.predictions.scores(), e_.predictions.label, e_.model.threshold);
    page_.section("Scores and thresholds");
    page_.charts(elements(charts));
    page_.section("Figures");
    page_.text(
        "Fake is the positive class. Intervals: Wilson's for accuracy, precision, recall and "
        "specificity, for the others a stratified bootstrap over the pictures, with none where "
        "every resample gives the same, or a class is missing or never called. They say how far "
        "chance in the "
        "choice of pictures goes, nothing about other generators, crops or compressions.");
    page_.tables({metric_table(at_threshold_, at_half_, e_.intervals),
                  class_table(at_threshold_.confusion, e_.model.classes)});
    if (!e_.tables.empty()) {
      page_.section("Where it holds");
      page_.tables(e_.tables);
    }
    return charts;
  }

  void mistakes() {
    page_.section("Most confident mistakes");
    std::vector<Mistake> mistakes =
        surest_mistakes(e_.predictions.prob, e_.predictions.label, e_.model.threshold, kMistakes);
    for (Mistake& m : mistakes) m.sample = e_.predictions.index[m.sample];
    if (mistakes.empty()) {
      page_.text("None: every picture is on its side of the threshold.");
      return;
    }
    const CpuBackend backend(e_.pool);
    std::optional<GradCam> cam;
    if (e_.model.config.quantization.empty()) {
      page_.text(
          "Left: what the network saw. Right: Grad-CAM, where it found evidence for the class that "
          "it called; red is strongest, scaled for each picture by itself.");
      cam.emplace(e_.model, backend);
    } else {
      page_.text("What the network saw. A quantized model has no heat maps.");
    }
    constexpr int kWidth = 210;
    page_.pictures(mistake_pictures(mistakes, e_.dataset, e_.model, cam ? &*cam : nullptr), kWidth);
  }

  void environment_of(const std::string& digest) {
    page_.section("Environment");
    Facts facts = environment(e_.pool.size());
    facts.emplace_back("model", e_.model_name);
    facts.emplace_back("threshold", fmt::format("{:.4g}", e_.model.threshold));
    facts.emplace_back("temperature", fmt::format("{:.4g}", e_.model.temperature));
    const auto fakes = std::ranges::count(e_.predictions.label, 1);
    facts.emplace_back("pictures", fmt::format("{} real and {} fake in {}, split {}",
                                               std::ssize(e_.predictions.label) - fakes, fakes,
                                               e_.dataset.root.string(), e_.dataset.split));
    facts.emplace_back("data digest", digest);
    page_.facts(facts);
    if (!e_.command.empty()) page_.code(e_.command);
  }

 private:
  Page& page_;
  const Evaluation& e_;
  Metrics at_threshold_, at_half_;
};

}  // namespace

// Runs of versions that kept none, gone on with by this one, get them anew.
Predictions valid_predictions(const TrainResult& run, const Model& kept, ThreadPool& pool) {
  const TrainOptions& o = run.options;
  const Dataset& valid = run.splits[1];
  std::error_code ignored;
  if (std::filesystem::exists(o.output / kValidPredictions, ignored))
    return read_valid_predictions(o.output, valid, kept);
  return predict_split(kept, valid, o.max_pixels, o.on_bad, pool);
}

void write_evaluation_report(const std::filesystem::path& output, const Evaluation& e) {
  Page page("Evaluation of " + std::filesystem::path(e.model_name).filename().string(),
            fmt::format("{} pictures, split {} of {}", e.predictions.label.size(), e.dataset.split,
                        e.dataset.root.string()));
  EvaluationPage parts(page, e);
  parts.tiles();
  write_charts(output / kCharts, parts.figures());
  parts.mistakes();
  parts.environment_of(digest(e.dataset, {}));
  write_text(output / kReport, page.html());
}

void write_run_report(const TrainResult& result, const Model& kept, const Predictions& valid,
                      ThreadPool& pool, const std::string& command,
                      const std::vector<Table>& tables) {
  const TrainOptions& options = result.options;
  const std::filesystem::path& folder = options.output;
  const RunHistory run = read_run(folder);
  const std::vector<Interval> intervals =
      metric_intervals(valid.scores(), valid.label, kept.threshold, options.seed);
  const Evaluation e{kept, pool, result.splits[1], valid, intervals, kBestModel, command, tables};

  Page page("Training run " + run.name,
            fmt::format("{} epochs; the model of epoch {} was kept, figures of its {} validation "
                        "pictures",
                        run.rows.size(), result.state.best_epoch, valid.label.size()));
  EvaluationPage parts(page, e);
  parts.tiles();
  page.text(
      "The validation pictures chose the epoch, the threshold and the temperature, so these "
      "figures flatter the model a little: dfengine eval on the test split gives the honest ones.");
  std::vector<NamedChart> charts = training_charts(run);
  const auto epochs = std::max<Index>(1, std::ssize(run.rows));
  const Index batches = static_cast<Index>(result.state.total_steps) / epochs;
  charts.push_back(learning_rate_chart(options, updates_per_epoch(options, batches), run.rows));
  page.section("Training");
  page.charts(elements(charts));
  for (NamedChart& chart : parts.figures()) charts.push_back(std::move(chart));
  write_charts(folder / kCharts, charts);
  parts.mistakes();
  parts.environment_of(result.data_digest);
  page.section("Arguments");
  page.facts(run.arguments);
  write_text(folder / kReport, page.html());
}

}  // namespace dfengine::report
