// dfengine compare: several runs in one table and on one page, or two models on the same pictures.
#include "engine/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/metrics/paired.h"
#include "kernels/base/atomic_file.h"

namespace dfengine {
namespace {

struct Arguments {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path output;
  bool paired = false;
  DataOptions data;
  std::string split;
  int threads = 0;
};

// What both models say of the pictures that both can read.
struct Paired {
  std::vector<double> prob[2], logit[2];
  std::vector<int> label;
};

Paired in_common(const Predictions& first, const Predictions& second) {
  Paired both;
  for (std::size_t i = 0; i < first.index.size(); ++i) {
    const auto other = std::ranges::lower_bound(second.index, first.index[i]);
    if (other == second.index.end() || *other != first.index[i]) continue;
    const auto k = static_cast<std::size_t>(other - second.index.begin());
    both.prob[0].push_back(first.prob[i]);
    both.prob[1].push_back(second.prob[k]);
    both.logit[0].push_back(first.logit[i]);
    both.logit[1].push_back(second.logit[k]);
    both.label.push_back(first.label[i]);
  }
  return both;
}

void write_paired(const Arguments& a, const PairedComparison& c, const std::string& split) {
  make_folder(a.output);
  nlohmann::json json = to_json(c);
  json["first"] = a.runs[0].string();
  json["second"] = a.runs[1].string();
  json["data"] = to_json(a.data);
  json["split"] = split;
  write_text(a.output / "paired.json",
             json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void compare_two(Arguments& a) {
  if (a.runs.size() != 2) throw Exit{ExitCode::Usage, "--paired compares two models: name two"};
  const Model first = open_detector(a.runs[0]), second = open_detector(a.runs[1]);
  print_unread_columns(a.runs[0], first);
  print_unread_columns(a.runs[1], second);
  const DataSource source =
      a.split.empty() ? open_to_measure(a.data) : open_data(a.data, {a.split});
  const Dataset& dataset = source.splits.front();
  print_seen_pictures(a.runs[0], first, dataset, a.data);
  print_seen_pictures(a.runs[1], second, dataset, a.data);
  ThreadPool pool(ThreadPool::count_for(a.threads));
  BadFiles bad_files;
  bad_files.add_unlisted(dataset);
  const auto predict = [&](const Model& model, const std::filesystem::path& name) {
    const Predictions p = predict_split(model, dataset, kMaxImagePixels, a.data.on_bad, pool);
    for (const LeftOut& bad : p.left_out) bad_files.add(dataset, bad.index, bad.reason);
    for (const double prob : p.prob) require_number(name, prob);
    return p;
  };
  const Paired both = in_common(predict(first, a.runs[0]), predict(second, a.runs[1]));
  constexpr std::uint64_t kSeed = 0;  // the same pictures give the same figures
  const PairedComparison c =
      compare_paired({{both.prob[0], both.logit[0]}, first.threshold},
                     {{both.prob[1], both.logit[1]}, second.threshold}, both.label, kSeed);
  fmt::print("{}\nfirst: {}\nsecond: {}\n{}", source.describe(), a.runs[0].string(),
             a.runs[1].string(), to_text(c));
  if (!a.output.empty()) write_paired(a, c, dataset.split);
  end_if_unreadable(bad_files, dataset.samples.size());
}

void run_compare(Arguments& a) {
  if (a.paired) return compare_two(a);
  if (a.data.has_source())
    throw Exit{ExitCode::Usage, "pictures are for --paired, which compares two models on them"};
  if (!a.output.empty()) refuse_run_folder(a.output);
  const std::vector<report::RunHistory> runs = report::read_runs(a.runs);
  fmt::print("{}", report::plain_text(report::comparison_table(runs)));
  const report::Table settings = report::settings_table(runs);
  if (settings.columns.size() > 1) fmt::print("\n{}", report::plain_text(settings));
  if (a.output.empty()) return;
  report::write_comparison(a.output, runs);
  fmt::print("\n{}\n", (a.output / "compare.html").string());
}

}  // namespace

void add_compare(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "compare", "Show runs side by side, or test whether one of two is better.",
      std::string(
          "Prints the validation figures of each run's kept epoch and the settings in "
          "which the runs differ. OUTPUT becomes a folder with compare.html, one file "
          "without scripts or network, with the validation curves over each other.\n"
          "With --paired both models see the same pictures, so that far smaller differences "
          "show than their intervals apart would tell: the difference of the AUCs with "
          "DeLong's test and an interval, and both figures' differences over 1,000 "
          "resamples. Accuracies are at each model's own threshold. OUTPUT then gets "
          "paired.json. Where pictures cannot be read, the exit code is then 3. It computes on the "
          "CPU.\n") +
          kDataNotes,
      run_compare);
  command
      .add_option("RUN", a.runs,
                  "Run folders, as train writes them; with --paired two of them, or model files.")
      ->required();
  command
      .add_option("--output", a.output,
                  "Folder for compare.html, other than a training run's, or for paired.json.")
      ->default_str("none, the figures are only printed");
  CLI::Option* paired =
      command.add_flag("--paired", a.paired, "Compare two models on the pictures of --data.");
  add_data(command, a.data);
  command
      .add_option("--split", a.split,
                  "With --paired, what is measured: train, valid, test, another folder of --data, "
                  "or all.")
      ->needs(paired)
      ->default_str("test, or all of a set without splits");
  add_threads(command, a.threads);
}

}  // namespace dfengine
