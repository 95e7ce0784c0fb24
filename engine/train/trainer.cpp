#include "engine/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/data/digest.h"
#include "engine/model/training_pictures.h"
#include "engine/runtime/open_backend.h"
#include "engine/train/initial_model.h"
#include "engine/train/parameter_average.h"
#include "engine/train/picture_cache.h"
#include "engine/train/picture_size.h"
#include "engine/train/ranks.h"
#include "engine/train/run_files.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool all_finite(ParameterStore& parameters) {
  return std::ranges::all_of(parameters.floats(), [](float v) { return std::isfinite(v); });
}

class Run {
 public:
  Run(TrainOptions options, const TrainObserver& observer, const std::atomic<bool>& interrupt,
      Communicator& ranks, std::optional<Checkpoint> checkpoint)
      : options_(std::move(options)),
        observer_(observer),
        interrupt_(interrupt),
        ranks_(ranks),
        cut_(cut_of(options_, ranks)),
        pool_(ThreadPool::count_for(options_.threads)),
        backend_(
            open_backend(options_.device, options_.device_config, pool_, number_on_machine(ranks))),
        source_(open_source(options_, checkpoint.has_value())),
        digest_(digest(train_, valid_)),
        checkpoint_(std::move(checkpoint)),
        native_(!checkpoint_ && asks_for_native_side(options_) ? native_side(train_)
                                                               : std::nullopt),
        model_(checkpoint_ ? std::move(checkpoint_->model) : initial_model(options_, native_)) {
    steps_per_epoch_ = divide_up(std::ssize(train_.samples), options_.batch_size);
    if (options_.eval_size == 0) options_.img_size = model_.config.input_size;
    if (native_ != options_.img_size) native_.reset();  // the weights had a size of their own
    if (options_.stem_stride != 0 || model_.config.stem_stride == 1)
      options_.stem_stride = model_.config.stem_stride;
    options_.width = model_.config.width;
    options_.resize = model_.resize;
    options_.crop = model_.crop;
    options_.freeze = frozen_blocks(options_.freeze, model_.network);
    state_.scaler = initial_scaler(backend_->element());
    make_absolute(options_);
    if (!checkpoint_ || checkpoint_->options.epochs != options_.epochs)
      model_.notes[kRunArguments] = arguments_note(options_);
    if (options_.cache == CacheMode::Disk) check_disk_cache(options_, model_);
    if (options_.model_ema) {
      const std::span<const float> values = model_.parameters.floats();
      average_.assign(values.begin(), values.end());
    }
    if (checkpoint_) state_ = checkpoint_->state;
    require_same_run(ranks, options_, digest_, state_, model_.parameters);
    if (!checkpoint_) return;
    if (checkpoint_->data_digest != digest_)
      throw DataError(source_.layout +
                      ": the pictures differ from those the run began with; start a new run");
    average_ = std::move(checkpoint_->average);
    bad_files_ = BadFiles(state_.bad_files);
    if (state_.step > steps_per_epoch_)
      throw ModelFileError((options_.output / kCheckpoint).string() + ": step " +
                           std::to_string(state_.step) + " of an epoch that has " +
                           std::to_string(steps_per_epoch_));
  }

  TrainResult run() try {
    announce();
    if (!fill_disk_cache()) {
      enter_phase(phase_at(state_.epoch));
      save();
      return result(TrainEnd::Interrupted);
    }
    while (!state_.finished && state_.epoch < options_.epochs) {
      enter_phase(phase_at(state_.epoch));
      if (!train_epoch()) return result(TrainEnd::Interrupted);
      const std::optional<bool> stop = finish_epoch();
      if (!stop) return result(TrainEnd::Interrupted);
      if (*stop) return result(TrainEnd::EarlyStop);
    }
    return result(TrainEnd::Finished);
  } catch (const DataError&) {
    write_bad_files();  // perhaps there were too many of them
    throw;
  }

 private:
  TrainResult result(TrainEnd end) const {
    return {end, state_, options_, source_.splits, digest_, planned_bytes_};
  }

  // Writes down what the run was told to do, and the files set aside before any picture is read.
  void announce() {
    if (writes()) {
      remove_leftovers(options_.output);
      write_args(options_);
    }
    for (const Dataset& split : source_.splits) {
      if (!split.unlisted.empty() && options_.on_bad == OnBad::Fail)
        throw DataError(split.unlisted.front().relative + ": " + split.unlisted.front().reason);
      bad_files_.add_unlisted(split);
    }
    if (observer_.start)
      observer_.start({source_.describe(), pool_.size(), state_.epoch + 1, checkpoint_.has_value(),
                       trains_folded_base(),
                       describe_size(options_, model_.network, native_) +
                           describe_cache(options_, source_.splits, model_.preparation()),
                       checkpoint_ ? model_.remarks : remarks_of_weights(model_, options_, source_),
                       describe_cut(options_, ranks_)});
  }

  // False when interrupted.
  bool fill_disk_cache() {
    if (options_.cache != CacheMode::Disk) return true;
    const auto fill = [this] {
      return cache_on_disk(options_.output, source_.splits, model_.preparation(options_.max_pixels),
                           pool_, [this](Index done, Index total) {
                             if (observer_.caching) observer_.caching(done, total);
                             return !interrupt_;
                           });
    };
    // The others find the file that the first one wrote.
    return !ranks_.any(writes() && !fill()) && !ranks_.any(!writes() && !fill());
  }

  bool writes() const { return ranks_.rank() == 0; }

  bool trains_folded_base() const {
    if (!is_bn_folded(model_)) return false;
    for (int epoch = state_.epoch; epoch < options_.epochs; ++epoch)
      if (phase_at(epoch).frozen_blocks != kWholeBase) return true;
    return false;
  }

  TrainPhase phase_at(int epoch) const {
    TrainPhase phase = phase_of(options_, epoch);
    if (phase.frozen_blocks == model_.network.block_count()) phase.frozen_blocks = kWholeBase;
    return phase;
  }

  // Plans and optimiser of a phase. Moments begin at zero with each phase, as when Keras
  // recompiles.
  void enter_phase(const TrainPhase& phase) {
    if (steps_ && phase == phase_) return;
    phase_ = phase;
    if (phase.frozen_blocks == 0) model_.notes.erase(kBnFolded);  // real statistics from here on
    steps_.reset();  // its memory is free before the next phase takes its own
    const StepsInput input{model_,    train_, valid_,     options_,   phase,
                           *backend_, pool_,  interrupt_, bad_files_, cut_};
    const bool base_is_frozen = phase.frozen_blocks == kWholeBase;
    steps_ = base_is_frozen && sees_same_pictures(options_, model_) ? make_feature_steps(input)
                                                                    : make_image_steps(input);
    // A checkpoint from inside this phase brings its moments.
    const bool inside = state_.step > 0 || state_.epoch > phase.first_epoch;
    if (!inside) state_.scaler.step = 0;
    const std::vector<float> zero(at(model_.parameters.learned_count()));
    steps_->training().upload(checkpoint_ && inside ? checkpoint_->moments : Moments{zero, zero},
                              state_.scaler);
    if (options_.model_ema) steps_->training().upload_average(average_);
    checkpoint_.reset();
    const Index planned = model_.parameters.bytes() + steps_->planned_bytes();
    planned_bytes_ = std::max(planned_bytes_, planned);
    if (observer_.phase) observer_.phase(phase, planned);
  }

  // False when interrupted; a checkpoint is then on disk.
  bool train_epoch() {
    const double before = state_.seconds;
    const Index first_step = state_.step;
    const auto entered = Clock::now();
    steps_->start(state_.epoch, first_step);
    if (ranks_.any(interrupt_)) {
      save();
      return false;
    }
    const auto begin = Clock::now();
    auto saved = begin;
    while (next_step()) {
      take_step();
      state_.seconds = before + seconds_since(entered);
      report(seconds_since(begin), first_step);
      if (steps_->training().waiting() > 0) continue;  // a checkpoint has no room for gradients
      // A kill loses at most this much of a long epoch.
      constexpr double kSaveSeconds = 60;
      const bool stop = ranks_.any(interrupt_);
      if (!stop && !ranks_.any(seconds_since(saved) > kSaveSeconds)) continue;
      save();
      if (stop) return false;
      saved = Clock::now();
    }
    steps_->training().forget_waiting();
    return true;
  }

  // False after the epoch's last.
  bool next_step() {
    const Index updates = updates_per_epoch(options_, steps_per_epoch_);
    const Index update = state_.step / options_.grad_accum_steps;  // of this epoch
    const double lr =
        state_.plateau.factor * learning_rate(options_, updates, state_.epoch, update);
    const double decay = average_decay(options_.model_ema_decay, state_.epoch * updates + update);
    const bool ends = ends_group(options_, steps_per_epoch_, state_.step);
    if (!steps_->next({options_.seed, state_.total_steps, lr, decay},
                      ends ? StepEnd::Update : StepEnd::Wait))
      return false;
    state_.last_lr = lr;
    return true;
  }

  void take_step() {
    add(steps_->training().collect_at_times());
    state_.waited += steps_->waited();
    ++state_.step;
    ++state_.total_steps;
  }

  void add(const StepSums& sums) {
    require_finite(std::isfinite(sums.loss), "the loss is");
    state_.loss_sum += sums.loss;
    state_.correct += sums.right;
    state_.seen += sums.n;
  }

  // What the backend still holds comes to the model and the state.
  void settle() {
    if (!steps_) return;
    add(steps_->training().collect());
    state_.scaler = steps_->training().download();
    if (options_.model_ema) steps_->training().download_average(average_);
    // Only a loss scale that can fall makes up for skipped steps.
    require_finite(state_.scaler.skipped == 0 || backend_->element() == Element::F16,
                   "gradients are");
  }

  // A run that diverged must not overwrite files of the time before.
  void require_finite(bool finite, const char* what) const {
    if (!finite)
      throw Error("epoch " + std::to_string(state_.epoch + 1) + ", after " +
                  std::to_string(state_.step) + " steps: " + what +
                  " not finite; try a smaller --lr. The last checkpoint, if any, is kept");
  }

  void report(double elapsed, Index first_step) const {
    if (!observer_.step) return;
    const double per_step = elapsed / static_cast<double>(state_.step - first_step);
    const auto seen = static_cast<double>(std::max(state_.seen, Index{1}));
    observer_.step({state_.epoch + 1, options_.epochs, state_.step, steps_per_epoch_,
                    state_.loss_sum / seen, static_cast<double>(state_.correct) / seen,
                    static_cast<double>(options_.batch_size) / per_step,
                    per_step * static_cast<double>(steps_per_epoch_ - state_.step)});
  }

  // Validation, best model, files. True when patience has run out before the last epoch; nothing
  // when interrupted: a resumed run validates again.
  std::optional<bool> finish_epoch() {
    const auto begin = Clock::now();
    settle();
    require_finite(all_finite(model_.parameters), "parameters are");
    const std::optional<Predictions> validated = validate();
    if (!validated) {
      save();
      return std::nullopt;
    }
    const Predictions& predictions = *validated;
    require_finite(
        std::ranges::all_of(predictions.logit, [](double z) { return std::isfinite(z); }),
        "validation outputs are");
    const Metrics m = compute_metrics(predictions.scores(), predictions.label, 0.5);
    const bool best = is_better(m.roc_auc, m.log_loss, state_.best_auc, state_.best_loss);
    const auto seen = static_cast<double>(state_.seen);
    const EpochRow row{state_.epoch + 1,
                       state_.loss_sum / seen,
                       static_cast<double>(state_.correct) / seen,
                       m.log_loss,
                       m.accuracy,
                       m.roc_auc,
                       state_.last_lr,
                       state_.scaler.loss_scale,
                       state_.skipped_in_epoch(),
                       state_.seconds + seconds_since(begin),
                       state_.seconds > 0 ? state_.waited / state_.seconds : 0};
    state_.rows.push_back(row);
    if (best) {
      state_.best_auc = m.roc_auc;
      state_.best_loss = m.log_loss;
      state_.best_epoch = state_.epoch + 1;
      const AverageInPlace averaged(model_.parameters, average_);
      save_best(predictions);
    }
    if (options_.schedule == ScheduleKind::Plateau && state_.epoch >= options_.head_epochs)
      state_.plateau.observe(m.log_loss);
    const bool stop =
        options_.patience > 0 && state_.epoch >= options_.head_epochs &&
        state_.epoch + 1 - std::max(state_.best_epoch, options_.head_epochs) >= options_.patience;
    state_.begin_next_epoch(stop, options_.epochs);
    if (writes()) write_results(options_.output, state_.rows);
    save();
    if (observer_.epoch) observer_.epoch(row, best);
    return stop && state_.epoch < options_.epochs;  // at the last epoch nothing was cut off
  }

  std::optional<Predictions> validate() {
    const AverageInPlace averaged(model_.parameters, average_);
    return steps_->validate();
  }

  // The kept model is calibrated; the one in training goes on with plain logits.
  void save_best(const Predictions& predictions) {
    calibrate(model_, predictions, options_.threshold_rule);
    if (writes()) {
      write_valid_predictions(options_.output, predictions);
      save_model(options_.output / kBestModel, model_);
    }
    model_.temperature = 1;
    model_.threshold = 0.5;
  }

  void save() {
    settle();
    require_finite(all_finite(model_.parameters), "parameters are");
    state_.bad_files = bad_files_.list();
    write_bad_files();
    require_same_values(ranks_, model_.parameters);
    if (!writes()) return;
    save_checkpoint(options_.output / kCheckpoint, model_, steps_->training().moments(), average_,
                    state_, options_, digest_);
  }

  void write_bad_files() const {
    if (writes() && !bad_files_.list().empty())
      write_text(options_.output / kBadFiles, bad_files_.csv());
  }

  TrainOptions options_;
  const TrainObserver& observer_;
  const std::atomic<bool>& interrupt_;
  Communicator& ranks_;
  Cut cut_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  DataSource source_;
  const Dataset& train_ = source_.splits[0];
  const Dataset& valid_ = source_.splits[1];
  BadFiles bad_files_;
  std::string digest_;
  std::optional<Checkpoint> checkpoint_;
  std::optional<Index> native_;  // the pictures' own side, where the network takes it
  Model model_;
  std::vector<float> average_;  // of the parameters, with --model-ema
  TrainState state_;
  Index steps_per_epoch_ = 0;
  TrainPhase phase_;
  std::unique_ptr<TrainingSteps> steps_;
  Index planned_bytes_ = 0;
};

}  // namespace

TrainResult train(const TrainOptions& options, bool resume, const TrainObserver& observer,
                  const std::atomic<bool>& interrupt, std::optional<int> epochs,
                  Communicator* ranks) {
  Communicator alone;
  if (ranks == nullptr) ranks = &alone;
  if (!resume) {
    TrainOptions own = options;
    if (own.slices == 0 && !own.fast_reduce && ranks->size() > 1) own.slices = kUsualSlices;
    own.validate();
    Run run(own, observer, interrupt, *ranks, std::nullopt);
    // Not earlier: now options and data are known to be good.
    const UniqueFd lock = ranks->rank() == 0 ? create_run_folder(options.output) : UniqueFd(-1);
    return run.run();
  }
  std::error_code error;
  // Where there is no folder, reading the checkpoint says so.
  const UniqueFd lock(ranks->rank() == 0 && std::filesystem::is_directory(options.output, error)
                          ? lock_folder(options.output)
                          : UniqueFd(-1));
  Checkpoint checkpoint = load_checkpoint(options.output / kCheckpoint);
  TrainOptions stored = resumed_options(options, epochs, checkpoint);
  stored.validate();
  return Run(std::move(stored), observer, interrupt, *ranks, std::move(checkpoint)).run();
}

}  // namespace dfengine
