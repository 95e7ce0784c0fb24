#include "engine/bench/files_bench.h"

#include <algorithm>
#include <chrono>

#include "engine/train/batch_runner.h"

namespace dfengine {
namespace {

TrainOptions options_of(const LoaderOptions& how, DeviceKind device) {
  TrainOptions o;
  o.device = device;
  o.batch_size = how.batch;
  o.augment = how.augment;
  o.max_pixels = how.max_pixels;
  o.on_bad = how.on_bad;
  o.cache = CacheMode::Disk;  // so that nothing is kept in memory; only Trainer writes the file
  return o;
}

class FilesRun {
 public:
  FilesRun(const BenchTarget& target, const Dataset& dataset, const LoaderOptions& how)
      : target_(target),
        dataset_(dataset),
        options_(options_of(how, target.kind())),
        model_(random_model(target)) {
    model_.resize = how.resize;
    model_.crop = how.crop;
    const Workload load(target, Work::Train);
    optimizer_.emplace(model_.parameters, load.trained(), OptimizerKind::Adam, 0.0);
    if (target.device != nullptr) scaler_ = initial_scaler(target.device->config().precision);
    steps_ = make_image_steps({model_, dataset_, dataset_, options_, load.training, target.pool,
                               optimizer_->gradients(), never_, bad_files_, target.device,
                               &*optimizer_, &scaler_});
  }

  // From the next epoch's begin; the sums of what was trained on.
  StepResult run(double seconds, int least_steps, double& taken) {
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    StepResult sums;
    steps_->start(epoch_++, 0);
    for (int step = 0; step < least_steps || passed() < seconds; ++step) {
      const auto result = steps_->next(state_);
      if (!result) {
        steps_->start(epoch_++, 0);
        continue;
      }
      add(sums, *result);
      if (result->n > 0 && !steps_->runner().updates_parameters())
        optimizer_->update({target_.pool}, state_.lr);
      ++state_.step;
    }
    add(sums, steps_->runner().collect());
    taken = passed();
    return sums;
  }

 private:
  static void add(StepResult& sums, const StepResult& more) {
    sums.n += more.n;
    sums.waited += more.waited;
  }

  const BenchTarget& target_;
  const Dataset& dataset_;
  TrainOptions options_;
  Model model_;
  BadFiles bad_files_;
  const std::atomic<bool> never_{false};
  ScalerState scaler_;
  std::optional<Optimizer> optimizer_;
  std::unique_ptr<TrainingSteps> steps_;
  StepState state_{0, 0, 1e-4};
  int epoch_ = 0;
};

}  // namespace

FilesTiming measure_files_training(const BenchTarget& target, const Dataset& dataset,
                                   const LoaderOptions& how, double seconds) {
  if (dataset.samples.empty()) throw DataError(dataset.root.string() + ": no pictures");
  FilesRun run(target, dataset, how);
  double taken = 0;
  run.run(0, 2, taken);
  const StepResult sums = run.run(seconds, 1, taken);
  return {sums.n, std::min(how.batch, std::ssize(dataset.samples)),
          static_cast<double>(sums.n) / taken, sums.waited / taken};
}

}  // namespace dfengine
