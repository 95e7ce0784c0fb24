#include "engine/bench/workload.h"

#include <algorithm>
#include <cstring>

#include "engine/runtime/executor.h"
#include "engine/train/optimizer.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

Graph graph_of(Work work, const BenchTarget& target) {
  switch (work) {
    case Work::Infer:
      return make_mobilenet_v2(target.config, target.element());
    case Work::Head:
      return make_head_training(target.config);
    case Work::Train:
    case Work::Frozen:
      break;
  }
  return make_mobilenet_v2_training(target.config, target.element());
}

}  // namespace

const char* name_of(Work work) {
  switch (work) {
    case Work::Infer:
      return "infer";
    case Work::Train:
      return "train";
    case Work::Frozen:
      return "frozen";
    case Work::Head:
      break;
  }
  return "head";
}

Workload::Workload(const BenchTarget& target, Work work)
    : phase(work == Work::Infer ? Phase::Infer : Phase::Train),
      device(target.kind()),
      tuner(target.device != nullptr ? target.device->tuner() : nullptr),
      training{0, work == Work::Train ? 0 : kFeatureBlocks, work == Work::Head},
      graph(graph_of(work, target)),
      input(work == Work::Head ? "pooled" : "images"),
      sample{{1, target.config.input_size, target.config.input_size, 3}, Element::U8} {
  if (work == Work::Head) sample = {{1, 1, 1, pooled_channels(target.config.width)}, Element::F32};
}

Plan Workload::plan(Index batch) const {
  Spec in = sample;
  in.shape.n = batch;
  const Spec targets{{batch, 1, 1, 1}, Element::F32};
  std::vector<Spec> specs;
  for (ValueId v : graph.inputs()) specs.push_back(v == graph.input(input) ? in : targets);
  return Plan::build(graph, specs,
                     {phase, trains() ? trainable_in(training) : Trainable{}, device, tuner});
}

std::vector<ParamSpec> Workload::trained() const {
  std::vector<ParamSpec> all;
  const Trainable moves = trainable_in(training);
  for (const ParamSpec& p : graph.params())
    if (is_learned(p.role) && moves(p)) all.push_back(p);
  return all;
}

Model random_model(const BenchTarget& target) {
  constexpr Index kPictures = 4;
  Model model = make_model(target.config, 1);
  BenchTarget host{target.config, target.pool};
  host.config.bn_momentum = 1;
  const Workload load(host, Work::Train);
  const Plan plan = load.plan(kPictures);
  const Memory arena(plan.arena_bytes());
  Optimizer optimizer(model.parameters, plan.trained(), OptimizerKind::Adam, 0.0);
  Executor executor(plan, model.parameters, optimizer.gradients(), arena);
  RandomBatches batches(load.sample, kPictures);
  std::memcpy(executor.input(load.input), batches.next(),
              static_cast<std::size_t>(kPictures * load.sample.bytes()));
  const StepState state;
  executor.forward({{target.pool}, &state});
  return model;
}

RandomBatches::RandomBatches(const Spec& sample, Index n) : batch_bytes_(n * sample.bytes()) {
  constexpr Index kBytes = Index{64} << 20, kMostBatches = 256;
  count_ = std::clamp(kBytes / batch_bytes_, Index{2}, kMostBatches);
  samples_.resize(static_cast<std::size_t>(count_ * batch_bytes_));
  Random random(1, RandomStream::Init, 0);
  for (std::size_t i = 0; i < samples_.size(); i += sizeof(float)) {
    const std::uint32_t bits = random.bits();
    const auto value = static_cast<float>(bits) * 0x1p-32f;  // features: uniform in [0, 1]
    const void* from = sample.element == Element::F32 ? static_cast<const void*>(&value) : &bits;
    std::memcpy(samples_.data() + i, from, std::min(sizeof bits, samples_.size() - i));
  }
  for (Index i = 0; i < n; ++i) targets_.push_back(static_cast<float>(i % 2));
}

Index RandomBatches::next_offset() {
  return next_++ % count_ * batch_bytes_;
}

const std::byte* RandomBatches::next() {
  return samples_.data() + next_offset();
}

}  // namespace dfengine
