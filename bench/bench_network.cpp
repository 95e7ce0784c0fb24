// The whole network: inference and a full training step, img/s. Cases: network/{infer,train}/BATCH.
// Threads: environment variable DFENGINE_THREADS, else all this process may use.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/executor.h"
#include "engine/predictor.h"
#include "engine/train/optimizer.h"
#include "kernels/random.h"

namespace dfengine {
namespace {

constexpr Index kSize = 224;

int threads() {
  const char* asked = std::getenv("DFENGINE_THREADS");
  return asked != nullptr ? std::atoi(asked) : cpu::ThreadPool::available();
}

std::vector<std::uint8_t> random_images(Index n) {
  std::vector<std::uint8_t> images(static_cast<std::size_t>(n * kSize * kSize * 3));
  Random random(1, RandomStream::Init, 0);
  for (std::uint8_t& x : images) x = static_cast<std::uint8_t>(random.bits());
  return images;
}

void report(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["threads"] = threads();
}

void infer(benchmark::State& state) {
  Model model = make_model({}, 1);
  cpu::ThreadPool pool(threads());
  Predictor predictor(model, pool, Predictor::Output::Logits);
  const auto images = random_images(state.range(0));
  std::vector<float> logits(static_cast<std::size_t>(state.range(0)));
  const auto run = [&] { predictor.run(images.data(), state.range(0), logits.data()); };
  run();  // the first call touches the memory
  for (auto _ : state) run();
  report(state);
}

// Forward, backward and Adam over all parameters, dropout on.
void train(benchmark::State& state) {
  const Index n = state.range(0);
  Model model = make_model({}, 1);
  cpu::ThreadPool pool(threads());
  const Spec specs[] = {{{n, kSize, kSize, 3}, Element::U8}, {{n, 1, 1, 1}, Element::F32}};
  const Plan plan = Plan::build(make_mobilenet_v2_training(model.config), specs,
                                {Phase::Train, [](const ParamSpec&) { return true; }});
  Optimizer optimizer(model.parameters, plan.trained(), OptimizerKind::Adam, 0.0);
  const Memory arena(plan.arena_bytes());
  Executor executor(plan, model.parameters, optimizer.gradients(), arena);
  const auto images = random_images(n);
  std::vector<float> targets(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<float>(i % 2);
  std::uint64_t step = 0;
  const auto run = [&] {
    const StepState now{0, step++};
    const LayerContext ctx{{pool}, &now};
    std::memcpy(executor.input("images"), images.data(), images.size());
    std::memcpy(executor.input("targets"), targets.data(), targets.size() * sizeof(float));
    executor.forward(ctx);
    executor.backward(ctx);
    optimizer.update({pool}, 1e-4);
  };
  run();  // the first call touches the memory
  for (auto _ : state) run();
  report(state);
}

BENCHMARK(infer)->Name("network/infer")->Arg(1)->Arg(32)->UseRealTime();
// Counted in steps, not seconds: each new trial would touch gigabytes of fresh memory.
BENCHMARK(train)->Name("network/train")->Arg(32)->Iterations(4)->UseRealTime();

}  // namespace
}  // namespace dfengine
