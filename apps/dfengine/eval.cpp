// dfengine eval: a model's figures on one labelled split.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"
#include "engine/data/sets/bad_files.h"
#include "engine/data/sets/csv.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/metrics/groups.h"
#include "engine/evaluate/robustness.h"
#include "engine/evaluate/unsure.h"
#include "engine/report/evaluation_tables.h"
#include "engine/report/report.h"
#include "engine/train/run_files.h"
#include "kernels/base/atomic_file.h"
#include "weights/pretrained.h"
#include "weights/tensor_file.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, output;
  DataOptions data;
  std::string split;  // "": test, or all of a set without splits
  std::string by;     // what --by names; "": nothing
  Views views = Views::One;
  std::optional<double> threshold, unsure_errors;
  Index max_pixels = kMaxImagePixels;
  DeviceOptions device;
  bool no_progress = false, perturb = false;
};

// Of resampling and noise: the same model and pictures give the same figures.
constexpr std::uint64_t kSeed = 0;

// What the run found.
struct Result {
  Summary at, half;  // at the threshold in force, and at 0.5
  std::array<std::string, 2> classes;
};

Result summarize_all(const Predictions& p, const Model& model) {
  constexpr double kHalf = 0.5;
  Result r;
  r.classes = {model.classes[0], model.classes[1]};
  r.half = summarize(p.scores(), p.label, kHalf, kSeed);
  r.at = model.threshold == kHalf ? r.half : summarize(p.scores(), p.label, model.threshold, kSeed);
  return r;
}

nlohmann::json to_json(const Result& r, const Model& model, const std::string& split,
                       const Arguments& a) {
  nlohmann::json j = to_json(r.at, r.classes);
  j["at_half"] = to_json(r.half, r.classes);
  j["temperature"] = model.temperature;
  j["positive_class"] = model.positive_class;
  j["tta"] = name_of(a.views);
  j["split"] = split;
  j["model"] = a.model.string();
  j["data"] = to_json(a.data);
  return j;
}

void print(const Result& r, const Model& model) {
  const Confusion& c = r.at.metrics.confusion;
  fmt::print("{} pictures ({} {}, {} {}); positive class: {}; temperature {:.4f}\n", r.at.metrics.n,
             c.tn + c.fp, r.classes[0], c.fn + c.tp, r.classes[1], model.positive_class,
             model.temperature);
  fmt::print(
      "Figures with 95 % intervals (Wilson's of shares, else a bootstrap of {} resamples)\n\n{}",
      kBootstrapSamples, to_text(r.at, r.half, r.classes));
}

void write_files(const Arguments& a, const nlohmann::json& metrics, const Dataset& dataset,
                 const Predictions& p, const Model& model) {
  // A path need not be UTF-8: bytes that are not become U+FFFD.
  write_text(a.output / "metrics.json",
             metrics.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  std::string csv = "path,label,prob_fake\n";
  for (std::size_t i = 0; i < p.prob.size(); ++i)
    csv += fmt::format("{},{},{}\n", csv_path(dataset.samples[p.index[i]].relative),
                       csv_text(model.classes[at(p.label[i])]), p.prob[i]);
  write_text(a.output / "predictions.csv", csv);
}

constexpr const char* kByFolder = "folder";

// The column is read with the pictures.
void name_group_column(Arguments& a) {
  if (a.by.empty() || a.by == kByFolder) return;
  if (!a.data.group_column.empty() && a.data.group_column != a.by)
    throw Exit{ExitCode::Usage, "--by and --group-column name different columns: leave one out"};
  a.data.group_column = a.by;
}

std::vector<GroupRow> measure_by_group(const Arguments& a, const Dataset& dataset,
                                       const Predictions& p, double threshold) {
  std::vector<std::string> groups;
  for (const std::uint32_t i : p.index) {
    const Sample& sample = dataset.samples[i];
    const std::string group = a.by == kByFolder
                                  ? std::filesystem::path(sample.relative).parent_path().string()
                                  : sample.group;
    groups.push_back(group.empty() ? "(none)" : weights::printable(group));
  }
  return measure_groups(p.scores(), p.label, groups, threshold);
}

// The model's own file takes the band, so that whatever reads it knows.
std::filesystem::path file_for_band(const Arguments& a, const Model& model) {
  const std::filesystem::path file = weights::find_weights(a.model);
  if (file.extension() != ".safetensors" || !model.remarks.empty())
    throw UsageError(fmt::format(
        "{}: --unsure-errors is kept in a model file of dfengine: make one with dfengine convert",
        a.model.string()));
  return file;
}

Predictions predict_with_line(Predictor& predictor, const Dataset& dataset,
                              const LoaderOptions& options, ProgressLine& line) {
  Loader loader(dataset, options);
  const auto total = static_cast<Index>(dataset.samples.size());
  Predictions p = predict_split(predictor, dataset, loader, [&](Index done) {
    line.show("", done, total);
    return true;
  });
  line.clear();
  return p;
}

BadFiles bad_files_of(const Dataset& dataset, const Predictions& p) {
  BadFiles bad_files;
  bad_files.add_unlisted(dataset);
  for (const LeftOut& bad : p.left_out) bad_files.add(dataset, bad.index, bad.reason);
  return bad_files;
}

void warn_of_turned_labels(const Arguments& a, const Model& model, const Result& result) {
  if (model.remarks.empty() || !(result.at.metrics.roc_auc < 0.5)) return;
  fmt::print(stderr,
             "dfengine: an AUC below 0.5: does label 1 of {} mean real? Then say so once: dfengine "
             "convert {} OUT.safetensors --label-positive real\n",
             a.model.string(), a.model.string());
}

// What metrics.json says, and the tables that the report has beside its own.
struct Figures {
  nlohmann::json metrics;
  std::vector<report::Table> tables = {};

  void add(const char* name, nlohmann::json figures, report::Table table) {
    metrics[name] = std::move(figures);
    tables.push_back(std::move(table));
  }
};

// Returns why there is no band to keep, "" where it was kept.
std::string keep_band(const Arguments& a, const Predictions& p, Model& model,
                      const std::filesystem::path& file) {
  const std::optional<UnsureBand> band = choose_unsure_band(p, model, *a.unsure_errors);
  if (!band)
    return fmt::format(
        "--unsure-errors {:g}: so few errors are nowhere among the {} pictures, and {} stays as it "
        "was; accept more",
        *a.unsure_errors, p.logit.size(), file.string());
  model.unsure = band;
  save_model(file, model);
  return "";
}

void add_unsure(const Predictions& p, const Model& model, const std::filesystem::path& kept_in,
                Figures& figures) {
  const UnsureCount count = count_unsure(p, *model.unsure, model.threshold);
  fmt::print("\n{}{}", to_text(count),
             kept_in.empty() ? "" : fmt::format("kept in {}\n", kept_in.string()));
  figures.add("unsure", to_json(count), to_table(count));
}

void add_groups(const Arguments& a, const Dataset& dataset, const Predictions& p, double threshold,
                Figures& figures) {
  const std::vector<GroupRow> rows = measure_by_group(a, dataset, p, threshold);
  fmt::print("\nBy {}, at threshold {:.4f}\n{}", a.by, threshold, to_text(rows));
  figures.add("by", to_json(rows), to_table(rows, a.by));
  figures.metrics["by"]["column"] = a.by;
}

void add_robustness(Predictor& predictor, const Dataset& dataset, const LoaderOptions& options,
                    double threshold, ProgressLine& line, Figures& figures) {
  const auto total = static_cast<Index>(dataset.samples.size());
  const std::vector<RobustnessRow> rows =
      measure_robustness(predictor, dataset, options, threshold, kSeed, [&](Index row, Index done) {
        line.show(fmt::format("change {}/{} ", row, perturbations().size()), done, total);
      });
  line.clear();
  fmt::print("\nAt threshold {:.4f}\n{}", threshold, to_text(rows));
  figures.add("robustness", to_json(rows), to_table(rows));
}

void write_bad_files(const std::filesystem::path& file, const BadFiles& bad_files) {
  if (bad_files.list().empty())
    std::filesystem::remove(file);  // an earlier run's
  else
    write_text(file, bad_files.csv());
}

// The figures stand; the exit code says that pictures are missing from them, or else what failed.
void end(const BadFiles& bad_files, std::size_t total, const std::string& failure) {
  if (bad_files.list().empty()) {
    if (!failure.empty()) throw Exit{ExitCode::Failed, failure};
    return;
  }
  if (!failure.empty()) fmt::print(stderr, "dfengine: {}\n", failure);
  end_if_unreadable(bad_files, total);
}

void run_eval(Arguments& a) {
  if (!a.output.empty()) refuse_run_folder(a.output);
  name_group_column(a);
  Model model = open_detector(a.model);
  print_unread_columns(a.model, model);
  a.device.resolve(!model.config.quantization.empty());
  const std::filesystem::path band_file = a.unsure_errors ? file_for_band(a, model) : "";
  set_threshold(model, a.threshold);
  const DataSource source =
      a.split.empty() ? open_to_measure(a.data) : open_data(a.data, {a.split});
  const Dataset& dataset = source.splits.front();
  print_seen_pictures(a.model, model, dataset, a.data);
  if (!a.output.empty()) make_folder(a.output);
  ThreadPool pool(a.device.thread_count());
  const std::unique_ptr<Backend> backend = a.device.open(pool);
  Predictor predictor(model, *backend, Predictor::Output::Logits);
  LoaderOptions options = one_pass(model.preparation(a.max_pixels), pool.size(), a.data.on_bad);
  options.views = a.views;
  ProgressLine line(!a.no_progress);
  const Predictions p = predict_with_line(predictor, dataset, options, line);
  for (double prob : p.prob) require_number(a.model, prob);
  fmt::print("{}\n", source.describe());
  const Result result = summarize_all(p, model);
  print(result, model);
  const std::string no_band = a.unsure_errors ? keep_band(a, p, model, band_file) : "";
  warn_of_turned_labels(a, model, result);
  Figures figures{to_json(result, model, dataset.split, a)};
  if (model.unsure) add_unsure(p, model, no_band.empty() ? band_file : "", figures);
  if (!a.by.empty()) add_groups(a, dataset, p, model.threshold, figures);
  if (a.perturb) add_robustness(predictor, dataset, options, model.threshold, line, figures);
  const BadFiles bad_files = bad_files_of(dataset, p);
  if (!a.output.empty()) {
    write_files(a, figures.metrics, dataset, p, model);
    write_bad_files(a.output / kBadFiles, bad_files);
    report::write_evaluation_report(a.output, {model, pool, dataset, p, result.at.intervals,
                                               a.model.string(), command_line(), figures.tables});
  }
  end(bad_files, dataset.samples.size(), no_band);
}

}  // namespace

void add_eval(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "eval", "Measure a model on labelled pictures.",
      std::string(
          "Prints every figure with its 95 % interval, at the model's threshold and at 0.5. "
          "Intervals are Wilson's for accuracy, precision, recall and specificity, for the "
          "others a stratified bootstrap of 1,000 resamples, or none where every resample "
          "gives the same. All figures equal scikit-learn's. "
          "Positive means fake: label 1, prob_fake, precision, recall. Probabilities are "
          "calibrated by the model's temperature. Pictures that the model was trained on, as far "
          "as its file tells, are counted on standard error.\n"
          "OUTPUT becomes a folder with report.html, its charts/ as SVG, metrics.json, "
          "predictions.csv (path, label, prob_fake) and, where pictures cannot be read, "
          "bad_files.csv; the exit code is then 3. The report is one file without scripts "
          "or network: ROC, precision and recall, reliability, scores by class, confusion "
          "matrices, every figure with its interval, and the most confident mistakes with "
          "Grad-CAM overlays.\n"
          "What a score means. A detector knows the generators, crops and compressions it "
          "was trained on. On others it can be no better than chance: measure it on "
          "pictures like those you will meet before you act on its word.\n") +
          kDataNotes,
      run_eval);
  command
      .add_option("--model", a.model,
                  "Model file or run's folder, as train writes it, or a detector "
                  "of Keras' or ONNX'.")
      ->required();
  add_data(command, a.data);
  command
      .add_option("--split", a.split,
                  "What is measured: train, valid, test, another folder of --data, or all.")
      ->default_str("test, or all of a set without splits");
  CLI::Option* tta = add_tta(command, a.views);
  command
      .add_option("--by", a.by,
                  "Figures of each group as well: by the values of this column of a table, or by "
                  "folder. Says where the model fails: each generator, source or camera.")
      ->default_str("none");
  command.add_flag("--perturb", a.perturb,
                   "Measure also under JPEG compression, blur, rescaling, noise and brightness, "
                   "of several strengths each: 18 more passes over the pictures, of which one "
                   "leaves them as they are.");
  CLI::Option* threshold = add_threshold(command, a.threshold);
  command
      .add_option(
          "--unsure-errors", a.unsure_errors,
          "The share of errors that you accept, such as .01: finds how far from the "
          "threshold a probability must lie for no more of these pictures to be wrong, and "
          "keeps that in the model file. predict, serve and the C interface then call "
          "unsure what lies nearer. Choose it on validation pictures, with --split valid, "
          "and measure it on others. At least 0 and below 1. Where so few are nowhere among "
          "them the model file stays as it is, and the exit code is 1.")
      ->check(within_below(0.0, 1.0))
      ->default_str("none, the model file stays as it is")
      ->needs("--split")
      ->excludes(threshold)
      ->excludes(tta);
  command
      .add_option("--output", a.output,
                  "Folder for the report and the predictions, other than a training run's.")
      ->default_str("none, the figures are only printed");
  add_max_pixels(command, a.max_pixels);
  add_no_progress(command, a.no_progress);
  a.device.add_to(command);
}

}  // namespace dfengine
