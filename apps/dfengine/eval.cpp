// dfengine eval: a model's figures on one labelled split.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "apps/dfengine/data_arguments.h"
#include "apps/dfengine/picture_arguments.h"
#include "engine/data/bad_files.h"
#include "engine/data/csv.h"
#include "engine/evaluate.h"
#include "engine/report/report.h"
#include "engine/train/run_files.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, output;
  DataOptions data;
  std::string split = "test";
  Index max_pixels = kMaxImagePixels;
  DeviceOptions device;
  bool no_progress = false;
};

nlohmann::json to_json(const Metrics& m, const Model& model, const Arguments& a) {
  const auto finite = [](double x) { return std::isfinite(x) ? nlohmann::json(x) : nullptr; };
  return {{"n", m.n},
          {"accuracy", m.accuracy},
          {"precision", m.precision},
          {"recall", m.recall},
          {"f1", m.f1},
          {"roc_auc", finite(m.roc_auc)},
          {"log_loss", m.log_loss},
          {"threshold", m.threshold},
          {"positive_class", model.positive_class},
          {"confusion",
           {{"tn", m.confusion.tn},
            {"fp", m.confusion.fp},
            {"fn", m.confusion.fn},
            {"tp", m.confusion.tp}}},
          {"split", a.split},
          {"model", a.model.string()},
          {"data", to_json(a.data)}};
}

void print_table(const Metrics& m, const Model& model) {
  fmt::print("{} pictures; positive class: {}; threshold {:g}\n", m.n, model.positive_class,
             m.threshold);
  fmt::print("accuracy  {:.4f}\nprecision {:.4f}\nrecall    {:.4f}\nF1        {:.4f}\n", m.accuracy,
             m.precision, m.recall, m.f1);
  fmt::print("ROC-AUC   {:.4f}\nlog loss  {:.4f}\n", m.roc_auc, m.log_loss);
  fmt::print("            called real  called fake\n");
  fmt::print("real        {:11}  {:11}\n", m.confusion.tn, m.confusion.fp);
  fmt::print("fake        {:11}  {:11}\n", m.confusion.fn, m.confusion.tp);
}

void write_files(const Arguments& a, const nlohmann::json& metrics, const Dataset& dataset,
                 const Predictions& p, const Model& model) {
  std::error_code error;
  std::filesystem::create_directories(a.output, error);
  if (error) throw Error("cannot make folder " + a.output.string() + ": " + error.message());
  // A path need not be UTF-8: bytes that are not become U+FFFD.
  write_text(a.output / "metrics.json",
             metrics.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  std::string csv = "path,label,prob_fake\n";
  for (std::size_t i = 0; i < p.prob.size(); ++i)
    csv += fmt::format("{},{},{:.8f}\n", csv_field(dataset.samples[p.index[i]].relative),
                       model.classes[static_cast<std::size_t>(p.label[i])], p.prob[i]);
  write_text(a.output / "predictions.csv", csv);
}

// The figures stand; the exit code says that pictures are missing from them.
void report_bad_files(const Arguments& a, const BadFiles& bad_files, Index total) {
  if (bad_files.list().empty()) return;
  if (!a.output.empty()) write_text(a.output / kBadFiles, bad_files.csv());
  for (const BadFile& bad : bad_files.list())
    fmt::print(stderr, "dfengine: {}: {}\n", bad.relative, bad.reason);
  throw Exit{ExitCode::BadData,
             fmt::format("{} of {} pictures could not be read", bad_files.list().size(), total)};
}

void run_eval(const Arguments& a) {
  a.device.check();
  Model model = load_detector(a.model);
  const DataSource source = open_data(a.data, {a.split});
  fmt::print("{}\n", source.describe());
  const Dataset& dataset = source.splits.front();
  cpu::ThreadPool pool(a.device.thread_count());
  Predictor predictor(model, pool, Predictor::Output::Logits);
  LoaderOptions options;
  static_cast<Preparation&>(options) = model.preparation(a.max_pixels);
  options.threads = pool.size();
  options.on_bad = a.data.on_bad;
  options.cache_bytes = 0;
  Loader loader(dataset, options);
  ProgressLine line(!a.no_progress);
  const auto total = static_cast<Index>(dataset.samples.size());
  const Predictions p = predict_split(predictor, dataset, loader, [&](Index done) {
    line.show(fmt::format("{} {}/{}", bar(static_cast<double>(done) / double(total)), done, total));
    return true;
  });
  line.clear();
  BadFiles bad_files;
  bad_files.add_unlisted(dataset);
  for (const LeftOut& bad : p.left_out) bad_files.add(dataset, bad.index, bad.reason);
  for (double prob : p.prob) require_number(a.model, prob);
  const Metrics m = compute_metrics(p.prob, p.label, model.threshold);
  print_table(m, model);
  if (!a.output.empty()) {
    write_files(a, to_json(m, model, a), dataset, p, model);
    const std::vector<Interval> intervals =
        bootstrap_intervals(p.prob, p.label, model.threshold, 0);
    report::write_evaluation_report(
        a.output, {model, pool, dataset, p, intervals, a.model.string(), command_line()});
  }
  report_bad_files(a, bad_files, total);
}

}  // namespace

void add_eval(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("eval", "Figures of a model on labelled pictures");
  command->add_option("--model", a->model, "Model file, as train writes it")->required();
  add_data_places(*command, a->data);
  add_data_settings(*command, a->data, "--fractions");
  command->add_option("--seed", a->data.seed, "Of --fractions: that of the training run")
      ->capture_default_str();
  command
      ->add_option("--split", a->split,
                   "train, valid, test, another folder of --data, or all of a set without splits")
      ->capture_default_str();
  command->add_option("--output", a->output,
                      "Folder for report.html, metrics.json and predictions.csv");
  add_max_pixels(*command, a->max_pixels);
  command->add_flag("--no-progress", a->no_progress, "No progress line");
  a->device.add_to(*command);
  command->callback([a] { run_eval(*a); });
}

}  // namespace dfengine
