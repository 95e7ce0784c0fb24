#include "engine/bench/layer_bench.h"

#include <chrono>

#include "engine/bench/timing.h"
#include "engine/plan/dump.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

LayerTable untimed(const Plan& plan, Work work, Index batch, bool on_device) {
  LayerTable table{work, batch, {}, plan.arena_bytes(), plan.prepared_bytes()};
  const std::vector<StepCost> costs = step_costs(plan);
  for (std::size_t i = 0; i < costs.size(); ++i) {
    const Step& step = plan.steps()[i];
    const Node& node = plan.node(step.node);
    table.steps.push_back({node.name, kind(node.operation), step.kind,
                           on_device ? kernels_text(plan, step) : "", plan.spec(node.output).shape,
                           0, costs[i]});
  }
  return table;
}

// In their order, with data and caches as in a real pass.
void time_in_order(const Binding& binding, const StepContext& ctx, bool count, LayerTable& table,
                   std::vector<std::vector<double>>& taken) {
  std::size_t i = 0;
  auto begin = std::chrono::steady_clock::now();
  const StepWatch watch = [&](const BoundStep&) {
    const auto end = std::chrono::steady_clock::now();
    if (count) taken[i].push_back(std::chrono::duration<double, std::milli>(end - begin).count());
    ++i;
    begin = end;
  };
  binding.forward(ctx, watch);
  binding.backward(ctx, watch);
  for (std::size_t k = 0; count && k < taken.size(); ++k) table.steps[k].ms = median(taken[k]);
}

// One step by itself, so often in a row that launching costs as little as in a whole graph.
double time_alone(const Backend& backend, const Binding& binding, const StepContext& ctx, int i,
                  int rounds) {
  constexpr int kRepeats = 16;
  binding.step(ctx, i);  // in its order; and loads its kernels, which a capture must not do
  const auto several = backend.capture([&binding, ctx, i] {
    for (int k = 0; k < kRepeats; ++k) binding.step(ctx, i);
  });
  const Timing t = time_on(backend, {rounds, 1.0}, [&](Index repeats) {
    while (repeats-- > 0) several();
  });
  return t.median_ms / kRepeats;
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
  const Backend& backend = target.backend;
  const Workload load(target, work);
  const Index n = work == Work::Infer ? backend.inference_batch(batch) : batch;
  const Model model = random_model(target);
  const ParameterBlock parameters(load.graph, model.parameters, backend, load.options.trainable);
  Session session(load.graph, load.samples(), load.options, parameters);
  const Session::Bound& bound = session.bound(n);
  const Binding& binding = *bound.binding;
  const OwnedMemory input = backend.allocate(sizeof(StepInput));
  const OwnedMemory scalars = backend.allocate(sizeof(StepScalars));
  const StepScalars first;
  backend.upload(scalars.get(), &first, sizeof first);
  const StepContext ctx{backend.queue(), Place{input.get()}.as<StepInput>(),
                        Place{scalars.get()}.as<StepScalars>()};
  RandomBatches batches(load.sample, n);
  const auto feed = [&] {
    backend.upload(binding.input(load.input).address, batches.next(), n * load.sample.bytes());
    if (load.trains())
      backend.upload(binding.input("targets").address, batches.targets().data(),
                     std::ssize(batches.targets()) * kFloatBytes);
  };
  LayerTable table = untimed(bound.plan, work, n, target.on_device());
  if (target.on_device()) {
    feed();
    for (std::size_t i = 0; i < table.steps.size(); ++i)
      table.steps[i].ms = time_alone(backend, binding, ctx, static_cast<int>(i), target.rounds);
    return table;
  }
  std::vector<std::vector<double>> taken(table.steps.size());
  for (int round = -1; round < target.rounds; ++round) {  // the first touches the memory
    feed();
    time_in_order(binding, ctx, round >= 0, table, taken);
  }
  return table;
}

}  // namespace dfengine
