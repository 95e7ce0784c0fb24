// dfengine predict: the chance of being fake for pictures without labels.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/predict/shards.h"
#include "apps/dfengine/tables.h"
#include "engine/data/sets/source.h"
#include "engine/data/sets/table_columns.h"
#include "engine/tables/metadata/property_columns.h"
#include "engine/tables/metadata/table_scores.h"
#include "kernels/base/error.h"
#include "kernels/base/sha256.h"
#include "weights/pretrained.h"
#include "weights/read_file.h"
#include "weights/tensor_file.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model;
  std::vector<std::filesystem::path> paths;
  std::filesystem::path list, csv, output, merge;
  DataOptions table;  // of which --data and the columns are used
  std::string part;   // "": what the environment says
  std::optional<AnswerFormat> format;
  Views views = Views::One;
  std::optional<double> threshold;
  Index max_pixels = kMaxImagePixels;
  bool stability = false, incremental = false, no_progress = false;
  DeviceOptions device;
};

// A shard's pictures, or why they cannot be had.
struct Opened {
  Dataset pictures;
  std::string error;
};

Opened open(const InputShard& shard) {
  try {
    return {open_shard(shard), ""};
  } catch (const DataError& e) {
    return {{}, e.what()};
  }
}

bool score(const InputShard& shard, const Opened& opened, Scoring& scoring,
           const std::function<void(const Answer&)>& use) {
  if (!opened.error.empty()) return scoring.refuse(shard, opened.error, use);
  return scoring.run(shard, opened.pictures, use);
}

[[noreturn]] void fail_for_nothing(const InputReader& input) {
  const std::string others = describe(input.passed_over());
  throw DataError("no pictures (JPEG, PNG, WebP, BMP) in what was given" +
                  (others.empty() ? "" : "; " + others));
}

// Answers go to standard output as they come.
ScoringCounts print_all(const Arguments& a, InputReader& input, Scoring& scoring,
                        const Model& model) {
  AnswerText text(a.format.value_or(AnswerFormat::Table),
                  a.stability ? AnswerKind::Stability : AnswerKind::Plain, model, model.threshold);
  const auto print = [&](const Answer& answer) {
    fmt::print("{}", text.line(answer));
    std::fflush(stdout);
  };
  bool whole = true;
  std::optional<InputShard> shard = input.next();
  if (!shard) fail_for_nothing(input);
  fmt::print("{}", text.begin());
  for (; shard && whole; shard = input.next()) whole = score(*shard, open(*shard), scoring, print);
  fmt::print("{}", text.end());
  std::fflush(stdout);
  if (!whole)
    throw Exit{ExitCode::Interrupted,
               fmt::format("interrupted: {} answered", scoring.counts().pictures)};
  if (scoring.counts().pictures == 0) fail_for_nothing(input);
  return scoring.counts();
}

// All on which the answers depend.
nlohmann::json settings_of(const Arguments& a, const Model& model) {
  return {{"model_sha256", sha256_hex(weights::read_file(weights::find_weights(a.model)))},
          {"threshold", model.threshold},
          {"tta", name_of(a.views)},
          {"stability", a.stability},
          {"max_pixels", a.max_pixels},
          {"device", a.device.kind() == DeviceKind::Cuda ? "cuda" : "cpu"},
          {"precision", name_of(a.device.resolved_precision())}};
}

Part part_of(const Arguments& a) {
  if (!a.part.empty()) return parse_part(a.part);
  const auto told = part_of_environment();
  if (!told) return {};
  const auto& [part, variable] = *told;
  fmt::print(stderr, "dfengine: part {} of {}, by {}\n", part.number, part.of, variable);
  return part;
}

// A file of answers for each shard.
ScoringCounts write_all(const Arguments& a, InputReader& input, Scoring& scoring,
                        const Model& model) {
  const AnswerFormat format = a.format.value_or(AnswerFormat::Csv);
  ShardFolder folder(a.output, format, part_of(a), a.incremental, settings_of(a, model));
  Index shards = 0, mine = 0;
  for (; std::optional<InputShard> shard = input.next(); ++shards) {
    if (!folder.is_mine(*shard)) continue;
    ++mine;
    const ScoringCounts before = scoring.counts();
    const double begin = scoring.seconds();
    AnswerText text(format, a.stability ? AnswerKind::Stability : AnswerKind::Plain, model,
                    model.threshold);
    std::string answers = text.begin();
    const Opened opened = open(*shard);
    const ShardDigests digests = digests_of(*shard, opened.pictures, opened.error.empty());
    if (folder.has(*shard, digests)) continue;
    const auto keep = [&](const Answer& answer) { answers += text.line(answer); };
    if (!score(*shard, opened, scoring, keep))
      throw Exit{ExitCode::Interrupted,
                 fmt::format("interrupted in shard {}; go on with --incremental", shard->number)};
    const ScoringCounts& now = scoring.counts();
    folder.write(*shard, digests, answers,
                 {now.pictures - before.pictures, now.unreadable - before.unreadable,
                  now.fake - before.fake, now.unsure - before.unsure},
                 scoring.seconds() - begin);
  }
  // Another process may have pictures where this one has none.
  if (mine == shards && folder.counts().pictures == 0) fail_for_nothing(input);
  folder.finish(shards, scoring.seconds());
  const ScoringCounts& c = folder.counts();
  fmt::print("{} pictures, {} of them by an earlier run; {} unreadable, {} fake, {} unsure: {}\n",
             c.pictures, folder.passed_by(), c.unreadable, c.fake, c.unsure, a.output.string());
  return c;
}

void run_on_pictures(const Arguments& a, const Model& model) {
  InputReader input = a.list.empty() ? InputReader(a.paths) : InputReader(a.list);
  Scoring scoring(model, {a.model, a.views, a.stability, a.max_pixels, a.no_progress}, a.device,
                  catch_interrupt());
  const ScoringCounts c =
      a.output.empty() ? print_all(a, input, scoring, model) : write_all(a, input, scoring, model);
  const std::string others = describe(input.passed_over());
  if (!others.empty()) fmt::print(stderr, "dfengine: {}\n", others);
  end_if_unreadable(c);
}

// Pictures with the columns of a table beside them: a hybrid or cascade may decide by those.
void predict_table(const Arguments& a, Model& model) {
  a.device.require_float_cpu();
  const TableModels detectors = read_table_models(model.notes, a.model.string());
  const std::filesystem::path root = a.table.data.empty() ? a.csv.parent_path() : a.table.data;
  CsvTable table = read_csv(a.csv);
  name_path_column(table, {.path = a.table.path_column}, a.csv.string());
  if (detectors.file_properties()) append_file_properties(table, root, a.csv.string());
  std::vector<Encoder> encoders;
  if (detectors.cascade) encoders.push_back(detectors.cascade->metadata.encoder);
  if (detectors.hybrid) encoders.push_back(detectors.hybrid->metadata.encoder);
  print_unfit_fields(table, a.csv.string(), encoders);
  ThreadPool pool(a.device.thread_count());
  const std::atomic<bool>& interrupted = catch_interrupt();
  const auto scores = score_table(model, detectors, pool, table, root, a.csv.string(),
                                  [&](Index) { return !interrupted; });
  const auto paths = column_values(table, table.find("path"));
  AnswerText text(a.format.value_or(AnswerFormat::Table), AnswerKind::OfTable, model,
                  PictureDetector(model, detectors.hybrid).threshold());
  std::size_t answered = 0;
  std::vector<std::string> errors;
  fmt::print("{}", text.begin());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    if (s.verdict < 0 && s.error.empty()) continue;
    ++answered;
    Answer answer{.path = std::string(paths[i]), .error = s.error};
    if (s.error.empty()) {
      answer.prob = s.prob;
      // The band is one of the image's probabilities.
      const bool unsure = s.source == TableScore::Source::Image && model.is_unsure(s.prob);
      answer.verdict = unsure ? kUnsure : model.classes[at(s.verdict)];
      answer.decided_by = name_of(s.source);
    } else {
      errors.push_back(s.error);
    }
    fmt::print("{}", text.line(answer));
  }
  fmt::print("{}", text.end());
  std::fflush(stdout);
  if (answered < scores.size())
    throw Exit{ExitCode::Interrupted,
               fmt::format("interrupted: {} of {} answered", answered, scores.size())};
  end_if_unreadable(errors, answered, "rows need a picture that could not be read");
}

void run_predict(Arguments& a) {
  if (!a.merge.empty()) return merge_shards(a.merge);
  if (a.model.empty()) throw Exit{ExitCode::Usage, "--model is required"};
  if (a.paths.empty() && a.list.empty() && a.csv.empty())
    throw Exit{
        ExitCode::Usage,
        "name pictures, folders, tars or packed files, a list of them with --input, or a table "
        "with --csv"};
  if (std::error_code none;
      std::ranges::find(a.paths, "-") != a.paths.end() && !std::filesystem::exists("-", none))
    throw Exit{ExitCode::Usage,
               "- is no picture: to read a list of paths from standard input, say --input -"};
  if (!a.output.empty() && (a.format == AnswerFormat::Table || a.format == AnswerFormat::Json))
    throw Exit{ExitCode::Usage, "--output wants --format csv or jsonl"};
  Model model = open_detector(a.model);
  set_threshold(model, a.threshold);
  if (!a.csv.empty()) return predict_table(a, model);
  print_unread_columns(a.model, model);
  a.device.resolve(!model.config.quantization.empty());
  run_on_pictures(a, model);
}

// Pictures, a list of them, or a table.
void add_inputs(CLI::App& command, Arguments& a) {
  CLI::Option* paths =
      command
          .add_option(
              "PATH", a.paths,
              "Pictures, folders of them, tars, packed files; 'shards/{000..063}.tar' is 64 "
              "of them, '{a,b}.tar' two.")
          ->default_str("none");
  CLI::Option* list =
      command
          .add_option("--input", a.list,
                      "A list of such paths, one a line or, as find -print0 writes them, with a "
                      "NUL byte behind each; - is standard input.")
          ->default_str("none")
          ->excludes(paths);
  CLI::Option* csv =
      command
          .add_option("--csv", a.csv,
                      "Table with a column path and the columns that a hybrid or cascade needs.")
          ->default_str("none")
          ->excludes(paths)
          ->excludes(list);
  command.add_option("--data", a.table.data, "Folder that the table's paths begin at.")
      ->needs(csv)
      ->default_str("the table's own");
  add_row(command, row_of(data_options(), "--path-column"), a.table)->needs(csv);
}

// Where answers go that are not printed, and how processes share the work.
void add_shards(CLI::App& command, Arguments& a) {
  CLI::Option* output =
      command.add_option("--output", a.output, "Folder for the answers, a file for each shard.")
          ->default_str("none, the answers are printed");
  command
      .add_option(
          "--part", a.part,
          "i/N: only the shards whose number leaves i when divided by N, with i from 0 to N - "
          "1.")
      ->needs(output)
      ->default_str("what an array job of Slurm or MPI says, else all");
  command
      .add_flag("--incremental", a.incremental,
                "Go on in an --output: shards that are whole there, of files that did not change "
                "since, are passed by.")
      ->needs(output);
  CLI::Option* merge =
      command
          .add_option(
              "--merge", a.merge,
              "Only join the shards of this --output, once all are there: predictions.csv or "
              ".jsonl, and summary.json.")
          ->default_str("none");
  for (const char* name : {"PATH", "--input", "--csv", "--output"})
    merge->excludes(command.get_option(name));
}

}  // namespace

void add_predict(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "predict", "Tell for each picture how probably it is fake.",
      "Trust it for pictures like those that the model was trained on. Other generators, crops or "
      "compressions need figures of their own: dfengine eval.\n"
      "Columns of csv and keys of json: path; prob_fake, the calibrated probability of being fake, "
      "0 to 1; verdict, the class it means at the threshold, or unsure in the band that eval "
      "--unsure-errors gave the model; error, why a picture could not be read (prob_fake and "
      "verdict are then empty, and the exit code is 3). json also has the threshold and the "
      "positive class; jsonl is an object a line. With --csv also decided_by: metadata, image or "
      "hybrid; the threshold is that of image and hybrid, for metadata decides by bounds of its "
      "own.\n"
      "Answers are printed as they come, in the order of the pictures, and memory does not grow "
      "with "
      "their number. Ctrl-C ends it with exit code 130.\n"
      "With --output the work is cut into shards: a tar, a packed file, or 10,000 pictures each. "
      "Every shard has a file of answers and a .json that says what it is of, both written aside "
      "and "
      "renamed. Any number of processes may share the shards (--part), and what a kill left undone "
      "is done by --incremental, as is a shard whose files or answers changed since; --merge joins "
      "them.",
      run_predict);
  command
      .add_option("--model", a.model,
                  "Model file, as train, hybrid or cascade writes it, a run's folder, or a "
                  "detector of Keras' or ONNX'. Only --merge needs none.")
      ->default_str("none");
  add_choice(command, "--format", a.format,
             "How the answers are written; --output takes csv and jsonl.")
      ->default_str("table; with --output csv");
  add_inputs(command, a);
  add_shards(command, a);
  add_tta(command, a.views);
  add_threshold(command, a.threshold);
  add_max_pixels(command, a.max_pixels);
  command.add_flag("--stability", a.stability,
                   "Look at each picture also written as JPEG of quality 75, made smaller by a "
                   "quarter and large again, and without its borders: where the verdict flips, it "
                   "is unsure. prob_low and prob_high are the ends of the answers. Four times the "
                   "work.");
  for (const char* name : {"--tta", "--threshold", "--max-pixels", "--stability", "--output"})
    command.get_option("--csv")->excludes(command.get_option(name));
  add_no_progress(command, a.no_progress);
  a.device.add_to(command);
}

}  // namespace dfengine
