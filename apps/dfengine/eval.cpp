// dfengine eval: a model's figures on one labelled split.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "engine/data/csv.h"
#include "engine/evaluate.h"
#include "engine/report/report.h"
#include "engine/train/run_files.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, data, output;
  std::string split = "test";
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
          {"data", a.data.string()}};
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
    csv += fmt::format("{},{},{:.8f}\n", csv_field(dataset.samples[i].relative),
                       model.classes[static_cast<std::size_t>(p.label[i])], p.prob[i]);
  write_text(a.output / "predictions.csv", csv);
}

void run_eval(const Arguments& a) {
  a.device.check();
  Model model = load_detector(a.model);
  const Dataset dataset = scan_split(a.data, a.split);
  cpu::ThreadPool pool(a.device.thread_count());
  Predictor predictor(model, pool, Predictor::Output::Logits);
  LoaderOptions options;
  options.size = model.config.input_size;
  options.crop = model.crop;
  options.threads = pool.size();
  options.cache_bytes = 0;
  Loader loader(dataset, options);
  ProgressLine line(!a.no_progress);
  const auto total = static_cast<Index>(dataset.samples.size());
  const Predictions p = predict_split(predictor, dataset, loader, [&](Index done) {
    line.show(fmt::format("{} {}/{}", bar(static_cast<double>(done) / double(total)), done, total));
  });
  line.clear();
  for (double prob : p.prob) require_number(a.model, prob);
  const Metrics m = compute_metrics(p.prob, p.label, model.threshold);
  print_table(m, model);
  if (a.output.empty()) return;
  write_files(a, to_json(m, model, a), dataset, p, model);
  const std::vector<Interval> intervals = bootstrap_intervals(p.prob, p.label, model.threshold, 0);
  report::write_evaluation_report(
      a.output, {model, pool, dataset, p, intervals, a.model.string(), command_line()});
}

}  // namespace

void add_eval(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("eval", "Figures of a model on DIR/SPLIT/{real,fake}");
  command->add_option("--model", a->model, "Model file, as train writes it")->required();
  command->add_option("--data", a->data, "Folder that holds the split")->required();
  command->add_option("--split", a->split, "Folder inside --data")->capture_default_str();
  command->add_option("--output", a->output,
                      "Folder for report.html, metrics.json and predictions.csv");
  command->add_flag("--no-progress", a->no_progress, "No progress line");
  a->device.add_to(*command);
  command->callback([a] { run_eval(*a); });
}

}  // namespace dfengine
