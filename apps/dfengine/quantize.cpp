// dfengine quantize: a trained model as one of 8-bit integers.
#include <fmt/format.h>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "engine/data/sets/groups.h"
#include "engine/evaluate/evaluate.h"
#include "engine/model/quantize.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/tables/metadata/table_scores.h"
#include "engine/train/run_files.h"

namespace dfengine {
namespace {

// More pictures hardly move the ranges; the time they take would.
constexpr std::size_t kMostCalibration = 256;

struct Arguments {
  std::filesystem::path model, output, data;
  std::vector<std::filesystem::path> calibrate;
  int threads = 0;
};

struct Pictures {
  std::vector<std::uint8_t> pixels;
  Index n = 0;
};

Pictures of_files(const Model& model, const std::vector<std::filesystem::path>& paths) {
  Pictures all;
  const auto files = evenly_spaced(list_pictures(paths), kMostCalibration);
  const auto bad =
      for_each_batch(files, model.preparation(),
                     [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
                       const Index bytes = model.network.image.bytes() * std::ssize(which);
                       all.pixels.insert(all.pixels.end(), pixels, pixels + bytes);
                       all.n += std::ssize(which);
                     });
  for (const BadPicture& b : bad) fmt::print(stderr, "dfengine: left out: {}\n", b.reason);
  return all;
}

// The first of a shuffled pass, unchanged.
Pictures of_split(const Model& model, const TrainOptions& options, const Dataset& split,
                  int threads, BadFiles& bad_files) {
  LoaderOptions loading = one_pass(model.preparation(options.max_pixels), threads, options.on_bad);
  loading.shuffle = true;
  loading.seed = options.seed;
  Loader loader(split, loading);
  loader.start(0);
  Pictures all;
  for (Batch batch; all.n < static_cast<Index>(kMostCalibration) && loader.next(batch);) {
    const auto* pixels = batch.images.data();
    all.pixels.insert(all.pixels.end(), pixels, pixels + batch.n * model.network.image.bytes());
    all.n += batch.n;
    for (const LeftOut& bad : batch.left_out) bad_files.add(split, bad.index, bad.reason);
  }
  return all;
}

void print(const QuantizedModel& made, const Model& of) {
  const bool detector = of.config.head == Head::Detector;
  for (const RuleResult& r : made.results)
    fmt::print(
        "ranges by {:10} {} {:.5f}{}\n", name_of(r.rule),
        detector ? "mean difference of the probability" : "relative difference of the features",
        r.difference, r.rule == made.rule ? ", taken" : "");
}

void run_quantize(const Arguments& a) {
  check_model_output(a.output, {a.model});
  const Model model = open_model(a.model);
  const bool is_run = std::filesystem::exists(a.model / kArguments);
  if (a.calibrate.empty() && !is_run && a.data.empty())
    throw UsageError(
        "--calibrate: name pictures like those that the model will see, "
        "or --data: a data set");
  ThreadPool pool(ThreadPool::count_for(a.threads));
  const CpuBackend backend(pool);
  std::vector<Dataset> splits;
  TrainOptions options;
  if (is_run) options = read_args(a.model);
  options.move_to(a.data);
  if (!a.data.empty() || a.calibrate.empty())
    splits = open_data(options, {"train", "valid"}).splits;
  // What training was kept away from stays unseen. Another set need not have these groups.
  for (Dataset& split : splits) take_groups(split, options.hold_out);
  BadFiles bad_files;
  for (const Dataset& split : splits) bad_files.add_unlisted(split);
  const Pictures pictures = a.calibrate.empty()
                                ? of_split(model, options, splits[0], pool.size(), bad_files)
                                : of_files(model, a.calibrate);
  QuantizedModel made = quantize(model, pictures.pixels.data(), pictures.n, backend);
  print(made, model);
  made.model.unsure.reset();  // chosen on answers of the float model
  auto looked_at = static_cast<std::size_t>(pictures.n);
  if (!splits.empty() && model.config.head == Head::Detector) {
    const Predictions valid =
        predict_split(made.model, splits[1], options.max_pixels, options.on_bad, pool);
    for (const LeftOut& bad : valid.left_out) bad_files.add(splits[1], bad.index, bad.reason);
    looked_at += valid.label.size();
    calibrate(made.model, valid, options.threshold_rule);
    keep_hybrid(made.model, model.temperature, a.model.string());
    fmt::print("validation AUC {:.4f}; threshold {:.4f}, temperature {:.4f}\n",
               roc_auc(valid.logit, valid.label), made.model.threshold, made.model.temperature);
  }
  save_model(a.output, made.model);
  fmt::print("{}: {} bytes, by {} pictures\n", a.output.string(),
             std::filesystem::file_size(a.output), pictures.n);
  end_if_unreadable(bad_files, looked_at + bad_files.list().size());
}

}  // namespace

void add_quantize(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "quantize",
      "Make a model of 8-bit integers of a trained one: smaller, faster on a CPU.",
      "Convolutions compute in 8-bit integers, the stem's input is the pixels themselves, and pool "
      "and head stay in float. Weights have a scale by output channel, results one by tensor, "
      "chosen among three rules on every fourth picture, which is held back. eval, predict, embed, "
      "serve and info take the file like any model; results are the same bits on every CPU. It is "
      "not trained further and has no heat map: keep the model it was made from.\n"
      "With a run, or --data, threshold and temperature are fitted anew on the validation "
      "pictures; with --calibrate and no --data they stay. Where pictures of a set cannot be read, "
      "the exit code is 3, and the file is written. Groups that the run held out are not looked "
      "at, and what eval --unsure-errors kept in the model goes: choose it anew.",
      run_quantize);
  command.add_option("--model", a.model, "Run folder or model file.")->required();
  command.add_option("--output", a.output, "The model file to write, named .safetensors.")
      ->required();
  command
      .add_option(
          "--calibrate", a.calibrate,
          "Pictures, or folders of them, like those that the model will see: at least 16, at "
          "best a few hundred. Of more than 256 an even selection is used.")
      ->default_str("training pictures of the run, or of --data");
  command.add_option("--data", a.data, "A data set, as train takes it.")
      ->default_str("the run's, where --model is one");
  add_threads(command, a.threads);
}

}  // namespace dfengine
