// dfengine train: fine-tunes or trains MobileNetV2 on labelled pictures.
#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <memory>

#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "apps/dfengine/data_arguments.h"
#include "apps/dfengine/picture_arguments.h"
#include "engine/model/model.h"
#include "engine/report/report.h"
#include "engine/train/run_files.h"
#include "kernels/base/memory.h"

namespace dfengine {
namespace {

// What the command line said, before a recipe's settings are filled in.
struct Arguments {
  TrainOptions values;
  DeviceOptions device;
  std::string recipe = "finetune", freeze, threshold_metric;
  AugmentArguments augment;
  bool resume = false;
  bool no_progress = false;
};

// Options that a run cannot change once begun: refused with --resume.
std::vector<CLI::Option*> add_settings(CLI::App& command, Arguments& a) {
  std::vector<CLI::Option*> all;
  const auto add = [&](CLI::Option* option) { all.push_back(option); };
  TrainOptions& v = a.values;
  CLI::Option* weights =
      command.add_option("--weights", v.weights,
                         "Start from these weights: any file that info can read, or imagenet "
                         "(torchvision's, downloaded once)");
  add(weights);
  add(command
          .add_option("--recipe", a.recipe,
                      "finetune: head first, then everything. seed: the frozen-base notebook "
                      "this replaces. Later options change single settings")
          ->capture_default_str());
  add(command.add_option("--epochs", v.epochs, "Passes over the training pictures"));
  add(command.add_option("--batch-size", v.batch_size, "Pictures per step"));
  add(command.add_option("--lr", v.lr, "Learning rate after warm-up"));
  add(add_choice(command, "--optimizer", v.optimizer, "adam or adamw"));
  add(command.add_option("--weight-decay", v.weight_decay, "On weights, not on biases and norms"));
  add(command.add_option("--freeze", a.freeze,
                         "all, none, or K: the first K of 19 blocks keep their values"));
  add(command.add_option("--unfreeze-at-epoch", v.unfreeze_at_epoch,
                         "From this epoch on nothing is frozen"));
  add(command.add_option("--head-epochs", v.head_epochs,
                         "First epochs that train the head alone, at ten times --lr"));
  add(add_choice(command, "--schedule", v.schedule, "cosine, plateau or constant"));
  add(command.add_option("--warmup", v.warmup, "Epochs of linear warm-up"));
  add(command.add_option("--patience", v.patience,
                         "Stop after so many epochs without a better validation AUC; 0: never"));
  add(command.add_option(
      "--img-size", v.img_size,
      "Side in pixels: a multiple of 32, 96 to 320; default the weights' own, else 224"));
  add(command.add_option("--width", v.width, "Width multiplier; --weights bring their own")
          ->excludes(weights));
  for (CLI::Option* option : add_resize(command, v.resize, v.crop)) add(option);
  add(add_max_pixels(command, v.max_pixels));
  add(add_choice(command, "--cache", v.cache,
                 "Prepared pictures between epochs: ram, disk (OUTPUT/cache.dfpack), or auto "
                 "(memory where they take at most 40 % of what is free)"));
  for (CLI::Option* option : a.augment.add_to(command)) add(option);
  add(command.add_option("--threshold-metric", a.threshold_metric,
                         "What the model's threshold is best at on the validation pictures: "
                         "balanced-accuracy, f1, eer, or fpr@x: most fakes found with at most a "
                         "share x of the reals called fake"));
  add(command.add_option("--seed", v.seed,
                         "Of initial values, order, augmentation, dropout and --split"));
  return all;
}

// The recipe's settings, with those the person named put over them.
TrainOptions merge(const CLI::App& command, const Arguments& a) {
  TrainOptions o = recipe(a.recipe);
  const TrainOptions& v = a.values;
  const auto given = [&](const char* name) { return command.get_option(name)->count() > 0; };
  static_cast<DataOptions&>(o) = v;
  o.output = v.output;
  o.weights = v.weights;
  if (given("--epochs")) o.epochs = v.epochs;
  if (given("--batch-size")) o.batch_size = v.batch_size;
  if (given("--lr")) o.lr = v.lr;
  if (given("--optimizer")) o.optimizer = v.optimizer;
  if (given("--weight-decay")) o.weight_decay = v.weight_decay;
  if (given("--freeze")) o.freeze = parse_freeze(a.freeze);
  if (given("--unfreeze-at-epoch")) o.unfreeze_at_epoch = v.unfreeze_at_epoch;
  if (given("--head-epochs")) o.head_epochs = v.head_epochs;
  if (given("--schedule")) o.schedule = v.schedule;
  if (given("--warmup")) o.warmup = v.warmup;
  if (given("--patience")) o.patience = v.patience;
  if (given("--img-size")) o.img_size = v.img_size;
  if (given("--width")) o.width = v.width;
  if (given("--resize")) o.resize = v.resize;
  if (given("--crop")) o.crop = v.crop;
  o.max_pixels = v.max_pixels;
  o.cache = v.cache;
  o.augment = a.augment.over(o.augment);
  if (given("--threshold-metric")) o.threshold_rule = parse_threshold_rule(a.threshold_metric);
  o.threads = a.device.threads;
  o.check_finite = v.check_finite;
  o.device = a.device.kind();
  o.device_config = a.device.config();
  // Without weights there is nothing worth keeping frozen.
  if (o.weights.empty() && a.recipe == "finetune" && !given("--head-epochs")) o.head_epochs = 0;
  return o;
}

std::string describe(const TrainPhase& phase) {
  if (phase.frozen_blocks == kFeatureBlocks) return "head alone, base frozen";
  if (phase.frozen_blocks == 0) return "everything";
  return fmt::format("all but the first {} blocks", phase.frozen_blocks);
}

void warn_of_folded_base(const std::string& weights) {
  fmt::print(stderr,
             "dfengine: warning: these weights have their batch norms folded into the "
             "convolutions: the statistics are lost,\nand training the base at once changes what "
             "it computes. First estimate them on pictures:\n  dfengine convert {} "
             "OUT.safetensors --unfold-bn --calibrate DIR\nand train from OUT.safetensors, or keep "
             "the base frozen (--freeze all)\n",
             weights.empty() ? "IN" : weights);
}

// " loss scale 65536 (2 steps left out)" where gradients are scaled.
std::string scale_text(const EpochRow& r) {
  if (r.loss_scale == 1 && r.skipped == 0) return "";
  return fmt::format(" loss scale {:g} ({} steps left out)", r.loss_scale, r.skipped);
}

TrainObserver make_observer(ProgressLine& line, bool progress, const std::string& weights) {
  TrainObserver o;
  o.start = [weights](const TrainObserver::Start& s) {
    fmt::print("{}\n{}\n{} threads{}\n", s.data, s.cache, s.threads,
               s.resumed ? fmt::format("; goes on at epoch {}", s.first_epoch) : "");
    if (s.trains_folded_base) warn_of_folded_base(weights);
  };
  o.caching = [&line](Index done, Index total) {
    line.show(fmt::format("{} packing {}/{}", bar(double(done) / double(total)), done, total));
  };
  o.phase = [&line](const TrainPhase& phase, Index planned) {
    line.clear();
    fmt::print("training {}; planned memory {} MiB\n", describe(phase), planned >> 20);
    std::fflush(stdout);
  };
  o.step = [&line, progress](const TrainObserver::Progress& p) {
    if (!progress) return;
    const std::string text =
        fmt::format("epoch {}/{} {}/{} loss {:.4f} accuracy {:.4f} {:.1f} img/s", p.epoch, p.epochs,
                    p.step, p.steps, p.loss, p.accuracy, p.images_per_second);
    if (line.on_terminal()) {
      line.show(fmt::format("{} {} ETA {}", bar(static_cast<double>(p.step) / double(p.steps)),
                            text, clock_text(p.seconds_left)));
    } else if (p.step * 4 / p.steps != (p.step - 1) * 4 / p.steps) {  // a line per quarter
      fmt::print("{} ETA {}\n", text, clock_text(p.seconds_left));
      std::fflush(stdout);
    }
  };
  o.epoch = [&line](const EpochRow& r, bool best) {
    line.clear();
    fmt::print(
        "epoch {}: loss {:.4f} accuracy {:.4f} | valid loss {:.4f} accuracy {:.4f} AUC {:.4f} | "
        "lr {:.3g}{} | {} ({:.0f} % waiting for data){}\n",
        r.epoch, r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy, r.valid_auc, r.lr,
        scale_text(r), clock_text(r.seconds), 100 * r.data_wait, best ? " | best" : "");
    std::fflush(stdout);
  };
  return o;
}

void run_train(const CLI::App& command, const Arguments& a,
               const std::vector<CLI::Option*>& settings) {
  a.device.check();
  if (a.resume) {
    for (const CLI::Option* option : settings)
      if (option->count() > 0)
        throw Exit{ExitCode::Usage, option->get_name() + ": a resumed run keeps its own settings"};
  }
  const TrainOptions options = merge(command, a);
  const std::atomic<bool>& interrupted = catch_ctrl_c();
  ProgressLine line(!a.no_progress);
  const TrainResult result =
      train(options, a.resume, make_observer(line, !a.no_progress, options.weights.string()),
            interrupted);
  line.clear();
  fmt::print("peak memory {} MiB (planned {} MiB and the program itself)\n",
             peak_resident_bytes() >> 20, result.planned_bytes >> 20);
  const std::string folder = options.output.string();
  if (const std::size_t bad = result.state.bad_files.size(); bad > 0)
    fmt::print("{} pictures left out, for they cannot be read: {}/{}\n", bad, folder, kBadFiles);
  if (result.end == TrainEnd::Interrupted)
    throw Exit{
        ExitCode::Interrupted,
        fmt::format("interrupted in epoch {}; go on with: dfengine train --resume --output {}",
                    result.state.epoch + 1, folder)};
  report::write_run_report(options.output, result.state, a.device.thread_count(), command_line());
  const Model best = load_detector(options.output / kBestModel);
  fmt::print(
      "{}best epoch {} (validation AUC {:.4f}; threshold {:.4f}, temperature {:.4f}): {}/{}\n",
      result.end == TrainEnd::EarlyStop ? "stopped early; " : "", result.state.best_epoch,
      result.state.best_auc, best.threshold, best.temperature, folder, kBestModel);
  fmt::print("report: {}/{}\n", folder, report::kReport);
}

}  // namespace

void add_train(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("train", "Train on labelled pictures: folders or a table");
  add_data_places(*command, a->values);
  command->add_option("--output", a->values.output, "Run folder to make, or to --resume")
      ->required();
  std::vector<CLI::Option*> settings = add_settings(*command, *a);
  for (CLI::Option* option : add_data_settings(*command, a->values, "--split,--fractions"))
    settings.push_back(option);
  command->add_flag("--resume", a->resume, "Go on from OUTPUT/last.ckpt with that run's settings");
  command->add_flag("--check-finite", a->values.check_finite,
                    "Look at what every layer computes and stop at the first number that is not "
                    "finite, naming the layer; slow");
  command->add_flag("--no-progress", a->no_progress, "One line per epoch only");
  for (CLI::Option* option : a->device.add_to(*command)) settings.push_back(option);
  command->callback([command, a, settings] { run_train(*command, *a, settings); });
}

}  // namespace dfengine
