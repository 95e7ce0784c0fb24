#include "engine/bench/files_bench.h"

#include <algorithm>
#include <chrono>

#include "engine/train/steps.h"

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
      : dataset_(dataset),
        options_(options_of(how, target.backend.kind())),
        model_(random_model(target)) {
    model_.resize = how.resize;
    model_.crop = how.crop;
    steps_ = make_image_steps({model_, dataset_, dataset_, options_, TrainPhase{}, target.backend,
                               target.pool, never_, bad_files_});
  }

  // What was trained on from the next epoch's begin, and how long it took.
  FilesTiming run(double seconds, int least_steps) {
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    FilesTiming sums;
    double waited = 0;
    steps_->start(epoch_++, 0);
    for (int step = 0; step < least_steps || passed() < seconds; ++step) {
      if (!steps_->next(input_)) {
        steps_->start(epoch_++, 0);
        continue;
      }
      sums.pictures += steps_->training().collect_at_times().n;
      waited += steps_->waited();
      ++input_.step;
    }
    sums.pictures += steps_->training().collect().n;
    sums.images_per_second = static_cast<double>(sums.pictures) / passed();
    sums.waited = waited / passed();
    return sums;
  }

 private:
  const Dataset& dataset_;
  TrainOptions options_;
  Model model_;
  BadFiles bad_files_;
  const std::atomic<bool> never_{false};
  std::unique_ptr<TrainingSteps> steps_;
  StepInput input_{.learning_rate = 1e-4};
  int epoch_ = 0;
};

}  // namespace

FilesTiming measure_files_training(const BenchTarget& target, const Dataset& dataset,
                                   const LoaderOptions& how, double seconds) {
  if (dataset.samples.empty()) throw DataError(dataset.root.string() + ": no pictures");
  FilesRun run(target, dataset, how);
  run.run(0, 2);
  FilesTiming timing = run.run(seconds, 1);
  timing.batch = std::min(how.batch, std::ssize(dataset.samples));
  return timing;
}

}  // namespace dfengine
