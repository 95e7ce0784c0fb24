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

// What was trained on from the next epoch's begin, and how long it took.
FilesTiming train_for(TrainingSteps& steps, StepInput& input, int& epoch, double seconds,
                      int least_steps) {
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  FilesTiming sums;
  double waited = 0;
  steps.start(epoch++, 0);
  for (int step = 0; step < least_steps || passed() < seconds; ++step) {
    if (!steps.next(input, StepEnd::Update)) {
      steps.start(epoch++, 0);
      continue;
    }
    sums.pictures += steps.training().collect_at_times().n;
    waited += steps.waited();
    ++input.step;
  }
  sums.pictures += steps.training().collect().n;
  sums.images_per_second = static_cast<double>(sums.pictures) / passed();
  sums.waited = waited / passed();
  return sums;
}

}  // namespace

FilesTiming measure_files_training(const BenchTarget& target, const Dataset& dataset,
                                   const LoaderOptions& how, double seconds) {
  if (dataset.samples.empty()) throw DataError(dataset.root.string() + ": no pictures");
  const TrainOptions options = options_of(how, target.backend.kind());
  Model model = random_model(target);
  model.resize = how.resize;
  model.crop = how.crop;
  BadFiles bad_files;
  const std::atomic<bool> never{false};
  Communicator alone;
  const Cut cut = Cut::of(1, alone);
  const auto steps = make_image_steps({model, dataset, dataset, options, TrainPhase{},
                                       target.backend, target.pool, never, bad_files, cut});
  StepInput input{.learning_rate = 1e-4};
  int epoch = 0;
  train_for(*steps, input, epoch, 0, 2);
  FilesTiming timing = train_for(*steps, input, epoch, seconds, 1);
  timing.batch = std::min(how.batch, std::ssize(dataset.samples));
  return timing;
}

}  // namespace dfengine
