#include "engine/bench/network_bench.h"

#include <atomic>

#include "engine/model/predictor.h"
#include "engine/train/batch_runner.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr float kRate = 1e-4f;  // of learning: it changes no time

// A call of many pictures runs a plan of fewer, several times.
StepCost cost_of_call(const Workload& load, Index batch, Index planned) {
  StepCost one = total_cost(load.plan(planned));
  const Index times = (batch + planned - 1) / planned;
  return {one.bytes * times, one.flops * times};
}

void infer_on_host(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  Model model = random_model(target);
  Predictor predictor(model, target.pool, Predictor::Output::Logits);
  RandomBatches batches(load.sample, t.batch);
  std::vector<float> logits(static_cast<std::size_t>(t.batch));
  t.step = time_on_host({.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0)
      predictor.run(reinterpret_cast<const std::uint8_t*>(batches.next()), t.batch, logits.data());
  });
  t.cost = cost_of_call(load, t.batch, Predictor::host_batch(t.batch));
  t.planned_bytes = model.parameters.bytes() + predictor.bytes();
}

void train_on_host(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  Model model = random_model(target);
  Dataset counted;  // runners look at the number of samples alone
  counted.samples.resize(static_cast<std::size_t>(t.batch));
  TrainOptions options;
  options.batch_size = t.batch;
  Optimizer optimizer(model.parameters, load.trained(), OptimizerKind::Adam, 0.0);
  const std::atomic<bool> never{false};
  BadFiles none;
  const auto runner = make_batch_runner(load.graph, load.input, load.sample,
                                        {model, counted, counted, options, load.training,
                                         target.pool, optimizer.gradients(), never, none});
  RandomBatches batches(load.sample, t.batch);
  StepState state{0, 0, kRate};
  t.step = time_on_host({.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0) {
      runner->run(batches.next(), batches.targets().data(), t.batch, state);
      optimizer.update({target.pool}, state.lr);
      ++state.step;
    }
  });
  t.cost = cost_of_call(load, t.batch, t.batch);
  t.planned_bytes = model.parameters.bytes() + optimizer.touched_bytes() + runner->bytes();
}

cuda::DeviceMemory copied(const Device& device, const void* from, std::size_t bytes) {
  cuda::DeviceMemory memory = cuda::allocate_device(static_cast<Index>(bytes));
  cuda::upload(device.compute(), memory.get(), from, static_cast<Index>(bytes));
  cuda::synchronize(device.compute());
  return memory;
}

void infer_on_device(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  const Device& device = *target.device;
  const Model model = random_model(target);
  RandomBatches batches(load.sample, t.batch);
  const auto resident = copied(device, batches.all().data(), batches.all().size());
  const Index before = cuda::device_memory_in_use();
  DeviceInference network(load.graph, "logits", target.config.input_size, model.parameters, device);
  t.step = time_on_device(device, {.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0)
      network.queue(static_cast<const std::byte*>(resident.get()) + batches.next_offset(), t.batch);
  });
  std::vector<float> logits(static_cast<std::size_t>(t.batch));
  t.fed = time_on_host({.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0)
      network.run(reinterpret_cast<const std::uint8_t*>(batches.next()), t.batch, logits.data());
  });
  t.cost = cost_of_call(load, t.batch, DeviceInference::batch_for(t.batch));
  t.planned_bytes = network.bytes();
  t.device_bytes = cuda::device_memory_in_use() - before;
}

void train_on_device(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  constexpr Index kReadEvery = 16;
  const Device& device = *target.device;
  const Model model = random_model(target);
  RandomBatches batches(load.sample, t.batch);
  const auto& targets = batches.targets();
  const auto samples = copied(device, batches.all().data(), batches.all().size());
  const auto labels = copied(device, targets.data(), targets.size() * sizeof(float));
  const auto rate = copied(device, &kRate, sizeof kRate);
  const Index before = cuda::device_memory_in_use();
  DeviceTrainingOptions options;
  options.batch = t.batch;
  options.trainable = trainable_in(load.training);
  options.trained = load.trained();
  DeviceTraining training(load.graph, load.input, load.sample, model.parameters, device, options);
  t.step = time_on_device(device, {.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0)
      training.step_resident(static_cast<const std::byte*>(samples.get()) + batches.next_offset(),
                             static_cast<const float*>(labels.get()), t.batch,
                             static_cast<const float*>(rate.get()));
  });
  t.fed = time_on_host({.rounds = target.rounds}, [&](Index repeats) {
    for (Index i = 0; i < repeats; ++i) {
      training.step(batches.next(), targets.data(), t.batch, kRate);
      if ((i + 1) % kReadEvery == 0 || i + 1 == repeats) training.collect();
    }
  });
  t.cost = cost_of_call(load, t.batch, t.batch);
  t.planned_bytes = training.bytes();
  t.device_bytes = cuda::device_memory_in_use() - before;
}

}  // namespace

double NetworkTiming::images_per_second() const {
  return static_cast<double>(batch) * 1e3 / step.median_ms;
}

double NetworkTiming::gigabytes_per_second() const {
  return static_cast<double>(cost.bytes) / (step.median_ms * 1e6);
}

NetworkTiming measure_network(const BenchTarget& target, Work work, Index batch) {
  if (batch < 1) throw UsageError("bench: a batch must be at least 1");
  const Workload load(target, work);
  NetworkTiming t;
  t.work = work;
  t.batch = batch;
  if (target.device != nullptr) {
    (load.trains() ? train_on_device : infer_on_device)(target, load, t);
  } else {
    (load.trains() ? train_on_host : infer_on_host)(target, load, t);
  }
  return t;
}

}  // namespace dfengine
