#include "engine/bench/network_bench.h"

#include "engine/model/predictor.h"
#include "kernels/base/error.h"
#include "kernels/cuda/runtime.h"

namespace dfengine {
namespace {

constexpr double kRate = 1e-4;  // of learning: it changes no time
// So many steps that the first, for which the device waits, does not count.
constexpr double kFedMs = 300;

// A call of many pictures runs a plan of fewer, several times.
StepCost cost_of_call(const Workload& load, Index batch, Index planned) {
  StepCost one = total_cost(load.plan(planned));
  const Index times = divide_up(batch, planned);
  return {one.bytes * times, one.flops * times};
}

OwnedMemory copied(const Backend& backend, const void* from, std::size_t bytes) {
  OwnedMemory memory = backend.allocate(static_cast<Index>(bytes));
  backend.upload(memory.get(), from, static_cast<Index>(bytes));
  backend.synchronize();
  return memory;
}

void time_inference(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  const Backend& backend = target.backend;
  const Model model = random_model(target);
  RandomBatches batches(load.sample, t.batch);
  const OwnedMemory resident = copied(backend, batches.all().data(), batches.all().size());
  const Index before = cuda::device_memory_in_use();
  Predictor predictor(model, backend, Predictor::Output::Logits);
  t.step = time_on(backend, {.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0) predictor.queue(resident.get() + batches.next_offset(), t.batch);
  });
  std::vector<float> logits(at(t.batch));
  if (target.on_device())
    t.fed = time_on_host({.rounds = target.rounds, .round_ms = kFedMs}, [&](Index repeats) {
      while (repeats-- > 0)
        predictor.run(reinterpret_cast<const std::uint8_t*>(batches.next()), t.batch,
                      logits.data());
    });
  t.cost = cost_of_call(load, t.batch, backend.inference_batch(t.batch));
  t.planned_bytes = model.parameters.bytes() + predictor.bytes();
  t.device_bytes = cuda::device_memory_in_use() - before;
}

void time_training(const BenchTarget& target, const Workload& load, NetworkTiming& t) {
  const Backend& backend = target.backend;
  Model model = random_model(target);
  RandomBatches batches(load.sample, t.batch);
  const auto& targets = batches.targets();
  const OwnedMemory samples = copied(backend, batches.all().data(), batches.all().size());
  const OwnedMemory labels = copied(backend, targets.data(), targets.size() * sizeof(float));
  const Index before = cuda::device_memory_in_use();
  TrainingOptions options;
  options.batch = t.batch;
  options.trainable = load.options.trainable;
  options.grad_checkpoint = load.options.grad_checkpoint;
  Training training(load.graph, load.sample, model.parameters, backend, options);
  const StepInput input{.learning_rate = kRate};
  training.step(batches.next(), targets.data(), t.batch, input);
  t.step = time_on(backend, {.rounds = target.rounds}, [&](Index repeats) {
    while (repeats-- > 0)
      training.step_resident({samples.get() + batches.next_offset()}, {labels.get()}, t.batch);
  });
  if (target.on_device())
    t.fed = time_on_host({.rounds = target.rounds, .round_ms = kFedMs}, [&](Index repeats) {
      while (repeats-- > 0) {
        training.step(batches.next(), targets.data(), t.batch, input);
        training.collect_at_times();
      }
      training.collect();
    });
  t.cost = cost_of_call(load, t.batch, t.batch);
  t.planned_bytes = model.parameters.bytes() + training.bytes();
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
  (load.trains() ? time_training : time_inference)(target, load, t);
  return t;
}

}  // namespace dfengine
