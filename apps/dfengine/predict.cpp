// dfengine predict: the chance of being fake for pictures without labels.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "apps/dfengine/answers.h"
#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/commands.h"
#include "engine/data/sets/source.h"
#include "engine/data/sets/table_columns.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/stability.h"
#include "engine/tables/metadata/property_columns.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model;
  std::vector<std::filesystem::path> paths;
  std::filesystem::path csv;
  DataOptions table;  // of which --data and the columns are used
  AnswerFormat format = AnswerFormat::Table;
  Views views = Views::One;
  std::optional<double> threshold;
  Index max_pixels = kMaxImagePixels;
  bool stability = false;
  DeviceOptions device;
};

// Ends the command where it was interrupted: what was answered until then is printed.
void end_if_interrupted(std::size_t answered, std::size_t total) {
  if (answered == total) return;
  std::fflush(stdout);
  throw Exit{ExitCode::Interrupted, fmt::format("interrupted: {} of {} answered", answered, total)};
}

// Sets what the answer says: unsure where changes of the picture flip it, or where it is too near
// the threshold. logits: of the picture as it is, then under each change.
void judge(Answer& answer, const Model& model, std::span<const float> logits) {
  answer.prob = model.probability(logits[0]);
  const Stability stability = stability_of(logits, model);
  const bool unsure = stability.flips || (model.unsure && model.unsure->holds(*answer.prob));
  answer.verdict = unsure ? kUnsure : model.classes[*answer.prob >= model.threshold ? 1 : 0];
  if (logits.size() == 1) return;
  answer.low = stability.low;
  answer.high = stability.high;
}

// One picture after the other, each in all its forms.
void run_on_forms(const Arguments& a, const Model& model) {
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  ThreadPool pool(a.device.thread_count());
  const std::unique_ptr<Backend> backend = a.device.open(pool);
  Predictor predictor(model, *backend, Predictor::Output::Logits);
  const std::atomic<bool>& interrupted = catch_interrupt();
  const Preparation how = model.preparation(a.max_pixels);
  Preparer preparer(how);
  PerturbScratch scratch;
  const Index views = view_count(a.views), bytes = views * how.size * how.size * 3;
  std::vector<Answer> answers;
  for (const std::filesystem::path& path : paths) {
    if (interrupted) break;
    answers.push_back({path.string()});
    try {
      const Image picture = preparer.decode(path);
      const std::vector<Image> forms =
          a.stability ? stability_forms(picture, scratch) : std::vector<Image>{picture};
      std::vector<std::uint8_t> pixels(at(bytes * std::ssize(forms)));
      for (std::size_t i = 0; i < forms.size(); ++i)
        preparer.resize(forms[i], how.crop, a.views, pixels.data() + i * at(bytes));
      std::vector<float> logits(forms.size());
      run_views(predictor, pixels.data(), std::ssize(forms), views, logits.data());
      for (const float logit : logits) require_number(a.model, model.probability(logit));
      judge(answers.back(), model, logits);
    } catch (const DataError& e) {
      answers.back().error = e.what();
    }
  }
  print_answers(answers, a.format, model, false);
  end_if_interrupted(answers.size(), paths.size());
  end_if_unreadable(errors_of(answers), answers.size());
}

void run_on_pictures(const Arguments& a, const Model& model) {
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  ThreadPool pool(a.device.thread_count());
  const std::unique_ptr<Backend> backend = a.device.open(pool);
  Predictor predictor(model, *backend, Predictor::Output::Logits);
  std::vector<Answer> answers;
  for (const std::filesystem::path& path : paths) answers.push_back({path.string()});
  const std::atomic<bool>& interrupted = catch_interrupt();
  std::vector<float> logits;
  const auto bad = for_each_batch(
      paths, model.preparation(a.max_pixels),
      [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
        logits.resize(which.size());
        run_views(predictor, pixels, static_cast<Index>(which.size()), view_count(a.views),
                  logits.data());
        for (std::size_t k = 0; k < which.size(); ++k) {
          require_number(a.model, model.probability(logits[k]));
          judge(answers[which[k]], model, std::span(logits).subspan(k, 1));
        }
      },
      a.views, &interrupted);
  for (const BadPicture& b : bad) answers[b.place].error = b.reason;
  std::erase_if(answers, [](const Answer& one) { return !one.prob && one.error.empty(); });
  print_answers(answers, a.format, model, false);
  end_if_interrupted(answers.size(), paths.size());
  end_if_unreadable(errors_of(answers), answers.size());
}

// Pictures with the columns of a table beside them: a hybrid or cascade may decide by those.
void predict_table(const Arguments& a, Model& model) {
  a.device.check_cpu();
  const TableModels detectors = read_table_models(model.notes, a.model.string());
  const std::filesystem::path root = a.table.data.empty() ? a.csv.parent_path() : a.table.data;
  CsvTable table = read_csv(a.csv);
  name_columns(table, {.path = a.table.path_column}, a.csv.string());
  if (detectors.file_properties()) append_file_properties(table, root, a.csv.string());
  ThreadPool pool(a.device.thread_count());
  const std::atomic<bool>& interrupted = catch_interrupt();
  const auto scores = score_table(model, detectors, pool, table, root, a.csv.string(),
                                  [&](Index) { return !interrupted; });
  const auto paths = column_values(table, table.find("path"));
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    if (s.verdict < 0 && s.error.empty()) continue;
    answers.push_back({.path = std::string(paths[i]), .error = s.error});
    if (!s.error.empty()) continue;
    answers.back().prob = s.prob;
    answers.back().verdict = model.classes[at(s.verdict)];
    answers.back().decided_by = name_of(s.source);
  }
  print_answers(answers, a.format, model, true);
  end_if_interrupted(answers.size(), scores.size());
  end_if_unreadable(errors_of(answers), answers.size(),
                    "rows need a picture that could not be read");
}

void run_predict(Arguments& a) {
  if (a.paths.empty() && a.csv.empty())
    throw Exit{ExitCode::Usage, "name pictures, folders of them, or a table with --csv"};
  Model model = open_detector(a.model);
  set_threshold(model, a.threshold);
  if (!a.csv.empty()) return predict_table(a, model);
  a.device.resolve();
  if (a.stability) return run_on_forms(a, model);
  run_on_pictures(a, model);
}

}  // namespace

void add_predict(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "predict", "Tell for each picture how probably it is fake.",
      "Trust it for pictures like those that the model was trained on. Other generators, crops or "
      "compressions need figures of their own: dfengine eval.\n"
      "Columns of csv and keys of json: path; prob_fake, the calibrated probability of being fake, "
      "0 to 1; verdict, the class it means at the threshold, or unsure in the band that eval "
      "--unsure-errors gave the model; error, why a picture could not be "
      "read "
      "(prob_fake and verdict are then empty, and the exit code is 3). json also has the threshold "
      "and the positive class. With --csv also decided_by: metadata, image or hybrid.\n"
      "Ctrl-C ends it with exit code 130, and what was answered until then is printed.",
      run_predict);
  command
      .add_option("--model", a.model,
                  "Model file, as train, hybrid or cascade writes it, a run's folder, or a "
                  "detector of Keras' or ONNX'.")
      ->required();
  add_choice(command, "--format", a.format, "How the answers are printed.");
  CLI::Option* paths =
      command.add_option("PATH", a.paths, "Pictures, or folders of them.")->default_str("none");
  CLI::Option* csv =
      command
          .add_option("--csv", a.csv,
                      "Table with a column path and the columns that a hybrid or cascade needs.")
          ->default_str("none");
  command.add_option("--data", a.table.data, "Folder that the table's paths begin at.")
      ->needs(csv)
      ->default_str("the table's own");
  add_row(command, row_of(data_options(), "--path-column"), a.table)->needs(csv);
  paths->excludes(csv);
  add_tta(command, a.views);
  add_threshold(command, a.threshold);
  add_max_pixels(command, a.max_pixels);
  command.add_flag("--stability", a.stability,
                   "Look at each picture also written as JPEG of quality 75, made smaller by a "
                   "quarter and large again, and without its borders: where the verdict flips, it "
                   "is unsure. prob_low and prob_high are the ends of the answers. Four times the "
                   "work.");
  for (const char* name : {"--tta", "--threshold", "--max-pixels", "--stability"})
    csv->excludes(command.get_option(name));
  a.device.add_to(command);
}

}  // namespace dfengine
