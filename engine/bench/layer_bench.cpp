#include "engine/bench/layer_bench.h"

#include <chrono>
#include <cstring>

#include "engine/bench/timing.h"
#include "engine/model/predictor.h"
#include "engine/plan/dump.h"
#include "engine/train/optimizer.h"

namespace dfengine {
namespace {

Index planned_batch(const BenchTarget& target, Work work, Index batch) {
  if (work != Work::Infer) return batch;
  return target.device != nullptr ? DeviceInference::batch_for(batch)
                                  : Predictor::host_batch(batch);
}

LayerTable untimed(const Plan& plan, Work work, Index batch) {
  LayerTable table{work, batch, {}, plan.arena_bytes(), plan.prepared_bytes()};
  const std::vector<StepCost> costs = step_costs(plan);
  for (std::size_t i = 0; i < costs.size(); ++i) {
    const Step& step = plan.steps()[i];
    const Node& node = plan.graph().nodes()[static_cast<std::size_t>(step.node)];
    const bool on_device = plan.device() == DeviceKind::Cuda;
    table.steps.push_back({node.layer->name(), node.layer->kind(), step.kind,
                           on_device ? kernels_text(plan, step) : "",
                           plan.specs()[static_cast<std::size_t>(node.output)].shape, 0, costs[i]});
  }
  return table;
}

void time_steps_on_host(const BenchTarget& target, const Workload& load, const Plan& plan,
                        RandomBatches& batches, LayerTable& table) {
  Model model = random_model(target);
  Optimizer optimizer(model.parameters, plan.trained(), OptimizerKind::Adam, 0.0);
  const Memory arena(plan.arena_bytes());
  Executor executor(plan, model.parameters, optimizer.gradients(), arena);
  executor.prepare();
  const StepState state;
  const LayerContext ctx{{target.pool}, &state};
  std::vector<std::vector<double>> taken(table.steps.size());
  for (int round = -1; round < target.rounds; ++round) {  // the first touches the memory
    std::memcpy(executor.input(load.input), batches.next(),
                static_cast<std::size_t>(table.batch * load.sample.bytes()));
    if (load.trains())
      std::memcpy(executor.input("targets"), batches.targets().data(),
                  batches.targets().size() * sizeof(float));
    std::size_t i = 0;
    auto begin = std::chrono::steady_clock::now();
    const StepWatch watch = [&](const BoundStep&) {
      const auto end = std::chrono::steady_clock::now();
      if (round >= 0)
        taken[i].push_back(std::chrono::duration<double, std::milli>(end - begin).count());
      ++i;
      begin = end;
    };
    executor.forward(ctx, watch);
    executor.backward(ctx, watch);
  }
  for (std::size_t i = 0; i < taken.size(); ++i) table.steps[i].ms = median(taken[i]);
}

// One step by itself, so often in a row that launching costs as little as in a whole graph.
double time_step(const Device& device, const DeviceExecutor& executor, const DeviceContext& ctx,
                 int i, int rounds) {
  constexpr int kRepeats = 16;
  const auto several = [&] {
    for (int k = 0; k < kRepeats; ++k) executor.step(ctx, i);
  };
  executor.step(ctx, i);  // in its order; and loads its kernels, which a capture must not do
  cuda::OwnedGraph captured;
  if (device.config().graphs) captured = cuda::capture(ctx.stream, several);
  const Timing t = time_on_device(device, {rounds, 1.0}, [&](Index repeats) {
    while (repeats-- > 0) captured ? cuda::run(captured, ctx.stream) : several();
  });
  return t.median_ms / kRepeats;
}

void time_steps_on_device(const BenchTarget& target, const Workload& load, const Plan& plan,
                          RandomBatches& batches, LayerTable& table) {
  const Device& device = *target.device;
  const Model model = random_model(target);
  const DeviceParameters parameters(model.parameters, device, load.trains());
  const cuda::DeviceMemory arena = cuda::allocate_device(plan.arena_bytes());
  DeviceExecutor executor(plan, model.parameters, parameters, arena.get());
  executor.prepare(model.parameters, device);
  const cuda::DeviceMemory scalars = cuda::allocate_device(sizeof(StepScalars));
  const cuda::Stream stream = device.compute();
  const StepScalars first;
  cuda::upload(stream, scalars.get(), &first, sizeof first);
  cuda::upload(stream, executor.input(load.input), batches.next(),
               table.batch * load.sample.bytes());
  if (load.trains())
    cuda::upload(stream, executor.input("targets"), batches.targets().data(),
                 std::ssize(batches.targets()) * static_cast<Index>(sizeof(float)));
  const DeviceContext ctx{stream, static_cast<const StepScalars*>(scalars.get())};
  for (std::size_t i = 0; i < table.steps.size(); ++i)
    table.steps[i].ms = time_step(device, executor, ctx, static_cast<int>(i), target.rounds);
}

}  // namespace

double LayerTable::total_ms() const {
  double sum = 0;
  for (const LayerTiming& s : steps) sum += s.ms;
  return sum;
}

StepCost LayerTable::total_cost() const {
  StepCost sum;
  for (const LayerTiming& s : steps) sum = sum + s.cost;
  return sum;
}

LayerTable measure_layers(const BenchTarget& target, Work work, Index batch) {
  if (batch < 1 || target.rounds < 1)
    throw UsageError("bench: batches and rounds must be at least 1");
  const Workload load(target, work);
  const Index n = planned_batch(target, work, batch);
  const Plan plan = load.plan(n);
  LayerTable table = untimed(plan, work, n);
  RandomBatches batches(load.sample, n);
  const auto time_steps = target.device != nullptr ? time_steps_on_device : time_steps_on_host;
  time_steps(target, load, plan, batches, table);
  return table;
}

}  // namespace dfengine
