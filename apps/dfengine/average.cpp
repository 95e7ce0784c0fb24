// dfengine average: several runs as one model, by the mean of their weights or of their logits.
#include <fmt/format.h>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "engine/data/sets/groups.h"
#include "engine/evaluate/evaluate.h"
#include "engine/model/combine.h"
#include "engine/model/norm_statistics.h"
#include "engine/model/training_pictures.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/train/run_files.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

struct Arguments {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path output, data;
  bool ensemble = false;
  int threads = 0;
};

// The mean's own statistics, over the training pictures as the first run saw them. The first
// `alike` blocks are those of every run, with statistics that hold for the mean too.
void measure_norms(Model& model, int alike, const TrainOptions& options, const Dataset& train,
                   const Backend& backend, ThreadPool& pool, BadFiles& bad_files) {
  if (alike == model.network.block_count()) return;
  const Index batch = std::min(options.batch_size, std::ssize(train.samples));
  NormEstimator estimator(model, backend, batch, alike);
  LoaderOptions loading =
      one_pass(model.preparation(options.max_pixels), pool.size(), options.on_bad);
  loading.batch = batch;
  loading.shuffle = true;
  loading.seed = options.seed;
  loading.augment = options.augment;
  loading.new_windows = model.crop == Crop::Random;
  Loader loader(train, loading);
  loader.start(0);
  const std::atomic<bool>& interrupted = catch_interrupt();
  for (Batch pictures; loader.next(pictures);) {
    if (interrupted) throw Exit{ExitCode::Interrupted, "interrupted: nothing is written"};
    for (const LeftOut& bad : pictures.left_out) bad_files.add(train, bad.index, bad.reason);
    if (pictures.n == batch) estimator.add(pictures.images.data());
  }
  estimator.finish();
}

// Of "run/" and of "." too, which end in no name.
std::string name_of_folder(const std::filesystem::path& run) {
  const std::filesystem::path whole = std::filesystem::absolute(run / "").lexically_normal();
  return readable(whole.parent_path().filename().string());
}

// Threshold, temperature and the printed figure are of pictures that no run was trained on.
void require_unseen(const Arguments& a, const std::vector<Model>& models, const Dataset& valid,
                    const DataOptions& options) {
  for (std::size_t i = 0; i < models.size(); ++i) {
    const SeenPictures seen = seen_in_training(models[i].notes, valid, options);
    if (seen.count > 0)
      throw UsageError(fmt::format(
          "{}: this run was trained on {} of the {} validation pictures of {} ({}), and figures on "
          "them are better than on new ones: give all runs the same set, --split and --seed",
          a.runs[i].string(), seen.count, valid.samples.size(), a.runs.front().string(), seen.set));
  }
}

void run_average(const Arguments& a) {
  check_model_output(a.output, a.runs);
  std::vector<Model> models;
  for (const std::filesystem::path& run : a.runs) models.push_back(load_detector(run / kBestModel));
  Model model = a.ensemble ? ensemble_of(models) : average_models(models);
  TrainOptions options = read_args(a.runs.front());
  options.move_to(a.data);
  const DataSource source = hold_out(open_data(options, {"train", "valid"}), options.hold_out);
  require_unseen(a, models, source.splits[1], options);
  ThreadPool pool(ThreadPool::count_for(a.threads));
  const CpuBackend backend(pool);
  BadFiles bad_files;
  for (const Dataset& split : source.splits) bad_files.add_unlisted(split);
  if (!a.ensemble)
    measure_norms(model, alike_blocks(models), options, source.splits[0], backend, pool, bad_files);
  const Predictions valid =
      predict_split(model, source.splits[1], options.max_pixels, options.on_bad, pool);
  for (const LeftOut& bad : valid.left_out) bad_files.add(source.splits[1], bad.index, bad.reason);
  calibrate(model, valid, options.threshold_rule);
  std::string members;
  for (const std::filesystem::path& run : a.runs)
    members += (members.empty() ? "" : ", ") + name_of_folder(run);
  model.notes[a.ensemble ? "ensemble_of" : "average_of"] = members;
  save_model(a.output, model);
  fmt::print("{} {}: validation AUC {:.4f}; threshold {:.4f}, temperature {:.4f}: {}\n",
             a.ensemble ? "ensemble of" : "mean of", members, roc_auc(valid.logit, valid.label),
             model.threshold, model.temperature, a.output.string());
  const std::size_t for_norms = a.ensemble ? 0 : source.splits[0].samples.size();
  end_if_unreadable(bad_files, for_norms + source.splits[1].samples.size());
}

}  // namespace

void add_average(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "average",
      "Make one model of several runs: the mean of their weights, or of what they say.",
      "The mean of weights is a model like each of them and as fast. The runs must have begun with "
      "the same values, head included: with the same --weights and --seed, or with one run's model "
      "as --weights. Where --split divides the set they need the same --seed in any case: no run "
      "may have been trained on the first one's validation pictures. Batch norm statistics are "
      "measured anew on the first run's training pictures, "
      "except in the first blocks where all runs agree, as frozen ones do; threshold and "
      "temperature are fitted on its validation pictures. Groups that it held out are not looked "
      "at. Where pictures cannot be read, the exit code is 3, and the file is written.\n"
      "An ensemble is one file with all of the models, whose logit is the mean of theirs, for the "
      "time of all of them. eval, predict and explain take it like a model. Its models must be of "
      "one size and prepare pictures alike.",
      run_average);
  command.add_option("RUN", a.runs, "Run folders, as train writes them, two at least.")->required();
  command.add_option("--output", a.output, "The model file to write, named .safetensors.")
      ->required();
  command.add_flag("--ensemble", a.ensemble, "Keep all models and take the mean of their logits.");
  command.add_option("--data", a.data, "Where the pictures are, if they were moved.")
      ->default_str("where the first run found them");
  add_threads(command, a.threads);
}

}  // namespace dfengine
