// dfengine train: fine-tunes or trains MobileNetV2 on labelled pictures.
#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/ranks/ranks.h"
#include "engine/data/sets/groups.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/metrics/groups.h"
#include "engine/model/model.h"
#include "engine/report/evaluation_tables.h"
#include "engine/report/export/event_file.h"
#include "engine/report/export/model_card.h"
#include "engine/report/report.h"
#include "engine/train/run_files.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/memory.h"

namespace dfengine {
namespace {

// What the command line said, before a recipe's settings are filled in.
struct Arguments {
  TrainOptions values;
  Settings<TrainOption> settings;
  Settings<AugmentOption> augment;
  DeviceOptions device;
  std::string recipe = "finetune";
  bool resume = false;
  bool no_progress = false;
  bool tensorboard = false;
  const CLI::App* command = nullptr;
  std::vector<CLI::Option*> fixed;  // once a run has begun: refused with --resume
};

std::vector<CLI::Option*> add_settings(CLI::App& command, Arguments& a) {
  const TrainOptions usual = recipe("finetune");
  std::vector<OtherDefaults<TrainOptions>> others;
  std::vector<OtherDefaults<AugmentOptions>> other_augment;
  for (const std::string name : {"best", "robust", "seed"}) {
    others.push_back({"with --recipe " + name, recipe(name)});
    other_augment.push_back({"with --recipe " + name, recipe(name).augment});
  }
  std::vector<CLI::Option*> all = {
      command
          .add_option(
              "--recipe", a.recipe,
              "The settings to begin with: finetune trains the head first, then "
              "everything; best is finetune three times as long on turned and partly blanked "
              "pictures; robust is finetune on pictures that are compressed, blurred and "
              "rescaled at random; seed is the notebook that this engine replaces, with a "
              "frozen base. Other options change single settings.")
          ->capture_default_str()};
  const auto add = [&all](const std::vector<CLI::Option*>& more, const char* group = "Options") {
    for (CLI::Option* option : more) option->group(group);
    all.insert(all.end(), more.begin(), more.end());
  };
  add(a.settings.add_to(command, train_options(), usual, others));
  std::erase(all, command.get_option("--epochs"));
  command.get_option("--width")->excludes(command.get_option("--weights"));
  add(a.augment.add_to(command, augment_options(), usual.augment, other_augment), "Augmentation");
  add(add_data(command, a.values, "--split,--fractions"), "Data");
  command.get_option("--seed")
      ->description("The seed of initial values, order, augmentation, dropout and --split.")
      ->group("Options");
  add(a.device.add_to(command));
  return all;
}

// The recipe's settings, with those the person named put over them.
TrainOptions merge(const Arguments& a) {
  TrainOptions o = recipe(a.recipe);
  static_cast<DataOptions&>(o) = a.values;
  o.output = a.values.output;
  o.check_finite = a.values.check_finite;
  a.settings.put_over(o);
  a.augment.put_over(o.augment);
  o.threads = a.device.threads;
  o.device = a.device.kind();
  o.device_config = a.device.config();
  // Without weights there is nothing worth keeping frozen.
  if (o.weights.empty() && a.recipe != "seed" && a.command->count("--head-epochs") == 0)
    o.head_epochs = 0;
  return o;
}

std::string describe(const TrainPhase& phase) {
  if (phase.frozen_blocks == kWholeBase) return "head alone, base frozen";
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

void warn_of_random_base(const TrainOptions& o) {
  if (!o.weights.empty() || o.freeze == 0) return;
  fmt::print(
      stderr,
      "dfengine: warning: --freeze {} without --weights keeps random values as they are: name "
      "--weights, or --freeze none\n",
      freeze_words(o.freeze));
}

// " loss scale 65536 (2 steps left out)" where gradients are scaled.
std::string scale_text(const EpochRow& r) {
  if (r.loss_scale == 1 && r.skipped == 0) return "";
  return fmt::format(" loss scale {:g} ({} steps left out)", r.loss_scale, r.skipped);
}

// A terminal or reader that is gone must not end a run that has still to be saved: main reports it.
void say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

TrainObserver make_observer(ProgressLine& line, bool progress, const std::string& weights) {
  TrainObserver o;
  o.start = [weights](const TrainObserver::Start& s) {
    say(fmt::format("{}\n{}\n{} threads{}\n", s.data, s.cache, s.threads,
                    s.resumed ? fmt::format("; goes on at epoch {}", s.first_epoch) : ""));
    if (!s.cut.empty()) say(s.cut + "\n");
    print_remarks(weights, s.remarks);
    if (s.trains_folded_base) warn_of_folded_base(weights);
  };
  o.caching = [&line](Index done, Index total) { line.show("packing ", done, total); };
  o.phase = [&line](const TrainPhase& phase, Index planned) {
    line.clear();
    say(fmt::format("training {}; planned memory {} MiB\n", describe(phase), planned >> 20));
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
      say(fmt::format("{} ETA {}\n", text, clock_text(p.seconds_left)));
    }
  };
  o.epoch = [&line](const EpochRow& r, bool best) {
    line.clear();
    say(fmt::format(
        "epoch {}: loss {:.4f} accuracy {:.4f} | valid loss {:.4f} accuracy {:.4f} AUC {:.4f} | "
        "lr {:.3g}{} | {} ({:.0f} % waiting for data){}\n",
        r.epoch, r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy, r.valid_auc, r.lr,
        scale_text(r), clock_text(r.seconds), 100 * r.data_wait, best ? " | best" : ""));
  };
  return o;
}

// From the first epoch on; its file is made where the run's folder is.
void write_events(TrainObserver& observer, const std::filesystem::path& folder) {
  auto file = std::make_shared<std::optional<report::EventFile>>();
  observer.epoch = [file, folder, say = observer.epoch](const EpochRow& r, bool best) {
    say(r, best);
    if (!*file) file->emplace(folder);
    const double seconds =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    (*file)->add(r.epoch, seconds,
                 std::vector<report::Scalar>{{"loss/train", r.train_loss},
                                             {"loss/valid", r.valid_loss},
                                             {"accuracy/train", r.train_accuracy},
                                             {"accuracy/valid", r.valid_accuracy},
                                             {"auc/valid", r.valid_auc},
                                             {"learning_rate", r.lr},
                                             {"loss_scale", r.loss_scale},
                                             {"steps_left_out", static_cast<double>(r.skipped)},
                                             {"seconds", r.seconds},
                                             {"data_wait", r.data_wait}});
  };
}

// What the kept model says of pictures that it was held away from, beside those it was chosen on.
std::vector<GroupRow> measure_held_out(const TrainResult& result, const Model& best,
                                       const Predictions& valid, ThreadPool& pool) {
  if (result.splits.size() < 3) return {};
  const std::string not_held_out = "validation, not held out";
  std::vector<std::string> groups(valid.label.size(), not_held_out);
  const TrainOptions& o = result.options;
  const Dataset& held_out = result.splits[2];
  const Predictions p = predict_split(best, held_out, o.max_pixels, o.on_bad, pool);
  for (const LeftOut& bad : p.left_out) fmt::print(stderr, "dfengine: left out: {}\n", bad.reason);
  Predictions both = valid;
  both.prob.insert(both.prob.end(), p.prob.begin(), p.prob.end());
  both.logit.insert(both.logit.end(), p.logit.begin(), p.logit.end());
  both.label.insert(both.label.end(), p.label.begin(), p.label.end());
  for (const std::uint32_t i : p.index)
    groups.push_back("held out: " + readable(group_of(held_out.samples[i])));
  std::vector<GroupRow> rows = measure_groups(both.scores(), both.label, groups, best.threshold);
  for (GroupRow& row : rows) row.beside = row.group == not_held_out;
  return rows;
}

void run_train(Arguments& a) {
  if (a.resume) {
    for (const CLI::Option* option : a.fixed)
      if (option->count() > 0)
        throw Exit{ExitCode::Usage, option->get_name() + ": a resumed run keeps its own settings"};
  } else {
    a.device.resolve();
  }
  const TrainOptions options = merge(a);
  if (!a.resume) {
    require_partners(*a.command, train_options(), options);
    require_partners(*a.command, augment_options(), options.augment);
  }
  std::optional<int> epochs;
  if (a.command->count("--epochs") > 0) epochs = options.epochs;
  const std::atomic<bool>& interrupted = catch_interrupt();
  std::unique_ptr<Communicator> ranks = join_ranks();
  const bool speaks = ranks->rank() == 0;
  ProgressLine line(speaks && !a.no_progress);
  TrainObserver observer;
  if (speaks && !a.resume) warn_of_random_base(options);
  if (speaks) observer = make_observer(line, !a.no_progress, options.weights.string());
  if (speaks && a.tensorboard) write_events(observer, options.output);
  const TrainResult result = train(options, a.resume, observer, interrupted, epochs, ranks.get());
  ranks.reset();
  if (!speaks) return;
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
  const Model best = load_detector(options.output / kBestModel);
  ThreadPool pool(a.device.thread_count());
  const Predictions valid = report::valid_predictions(result, best, pool);
  const std::vector<GroupRow> held_out = measure_held_out(result, best, valid, pool);
  std::vector<report::Table> tables;
  if (!held_out.empty()) tables.push_back(to_table(held_out, "group held out of training"));
  report::write_run_report(result, best, valid, pool, command_line(), tables);
  report::write_model_card(result, best, valid);
  fmt::print(
      "{}best epoch {} (validation AUC {:.4f}; threshold {:.4f}, temperature {:.4f}): {}/{}\n",
      result.end == TrainEnd::EarlyStop ? "stopped early; " : "", result.state.best_epoch,
      result.state.best_auc, best.threshold, best.temperature, folder, kBestModel);
  fmt::print("report: {}/{}\n", folder, report::kReport);
  if (held_out.empty()) return;
  fmt::print("\nHeld out of training, at threshold {:.4f}\n{}", best.threshold, to_text(held_out));
  write_text(options.output / kHeldOut, to_json(held_out).dump(2) + "\n");
}

constexpr const char* kNotes =
    "OUTPUT holds in the end best.safetensors, the model of the epoch with the best validation "
    "AUC; report.html with its charts/; README.md, the model's card as hubs show it; results.csv, "
    "a row per epoch; args.json, all settings; "
    "predictions_valid.safetensors, that epoch's validation logits; last.ckpt, from which "
    "--resume goes on; bad_files.csv where pictures were left out; and held_out.json with "
    "--hold-out-group.\n"
    "Recipes. finetune trains the head for one epoch and then everything, with Adam at 0.0001 "
    "on a cosine and mirrored pictures, which it takes at their own size where that is near 224. "
    "best goes on to 60 epochs, mirrors and turns pictures in all ways, blanks squares of half of "
    "them, and keeps a moving average of the parameters. robust is finetune on pictures of which "
    "half were written as JPEG, and a quarter each as WebP, blurred or rescaled. seed repeats the "
    "notebook that this engine replaces: "
    "every block frozen, pixels in [0, 1], Adam at a constant 0.001 for 10 epochs, no dropout, "
    "no augmentation.\n"
    "Weights. --weights takes MobileNetV2 as safetensors with torchvision's, timm's or Hugging "
    "Face's names, as PyTorch .pth (zip and legacy, read without running any of it), as Keras "
    ".h5 and .keras, and as ONNX. In ONNX batch norms are folded into the convolutions: "
    "dfengine convert IN.onnx OUT.safetensors --unfold-bn --calibrate PICTURES gives them "
    "back, so that all of it can be fine-tuned.\n"
    "The model file holds what the model needs: input size, normalisation, padding rule, "
    "epsilon, resize rule, crop, class names, temperature and threshold. Positive means fake, "
    "everywhere: label 1, prob_fake, precision, recall. Base tensors keep torchvision's names, "
    "so that torchvision.models.mobilenet_v2().load_state_dict(..., strict=False) reads them.\n"
    "Probabilities are calibrated: a temperature is fitted on the validation pictures, "
    "prob_fake is sigmoid(logit / temperature), and the threshold is the best there by "
    "--threshold-metric. eval, predict and ONNX files use both.\n"
    "Augmentation equals torchvision's, acts on the prepared square picture, and follows from "
    "seed, epoch and picture alone.\n"
    "The same command on the same machine gives the same bits, whatever --threads, interrupted "
    "or not: on the CPU always, with --device cuda under --deterministic. Another instruction "
    "set (DFENGINE_ISA=avx2) rounds differently. Ctrl-C, SIGTERM and SIGHUP leave a checkpoint, "
    "and "
    "dfengine train --output OUTPUT --resume goes on bit for bit as if never stopped. With "
    "--epochs "
    "a run goes on to more of them than it was begun for, by the schedule of a run that long; "
    "--data says where pictures are that were moved.\n"
    "Several processes: mpirun -n 2 dfengine train ... (also srun, or torchrun --no-python) trains "
    "one model, on CPUs or, with --device cuda, on a GPU each, by NCCL. --batch-size is that of "
    "all together, each process reads and computes its slices of "
    "every batch (--slices), batch norms see the whole batch, and the first process writes. Their "
    "number is a power of two, and OUTPUT a folder that all see. The result depends on --slices "
    "and not on the number of processes (on GPUs under --deterministic), and --resume may use "
    "another number. --fast-reduce gives that up. An error in one of them ends all.\n"
    "With --device cuda the loss scale is dynamic and a training step is one captured graph. "
    "Where several kernels compute the same, they are timed and the fastest is taken; in the "
    "next process it may be another one, with other last bits. Loss scale and steps left out "
    "for overflow stand in results.csv, in each epoch's line and in the report.\n";

}  // namespace

void add_train(CLI::App& program) {
  const auto [command, a] =
      add_command<Arguments>(program, "train", "Train a detector on labelled pictures.",
                             std::string(kNotes) + kDataNotes, run_train);
  command
      .add_option("--output", a.values.output,
                  "Folder of the run: a new one, or with --resume that of the run to go on with.")
      ->required();
  a.command = &command;
  a.fixed = add_settings(command, a);
  command.add_flag(
      "--resume", a.resume,
      "Go on from OUTPUT/last.ckpt with that run's settings, from whatever folder. Only --epochs "
      "may be given anew, for more of them, and where the pictures are now.");
  command.add_flag("--check-finite", a.values.check_finite,
                   "Look at what every layer computes and stop at the first number that is not "
                   "finite, naming layer and place. Slow.");
  command.add_flag("--tensorboard", a.tensorboard,
                   "Also write each epoch's figures into an event file in OUTPUT: tensorboard "
                   "--logdir OUTPUT shows them while the run goes on.");
  command.add_flag("--no-progress", a.no_progress, "Print one line per epoch only.");
}

}  // namespace dfengine
