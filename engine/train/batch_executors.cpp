#include "engine/train/batch_executors.h"

#include <algorithm>
#include <cstring>

namespace dfengine {

BatchExecutors::BatchExecutors(const Graph& graph, std::string input, Spec sample,
                               const StepsInput& from)
    : input_(std::move(input)), sample_(sample), pool_(from.pool) {
  const auto samples = static_cast<Index>(from.train.samples.size());
  full_n_ = std::min(from.options.batch_size, samples);
  rest_n_ = samples % full_n_;
  full_ = make(graph, full_n_, from);
  if (rest_n_ > 0) rest_ = make(graph, rest_n_, from);
  arena_ = Memory(std::max(full_.plan.arena_bytes(), rest_.plan.arena_bytes()));
  for (Bound* b : {&full_, &rest_}) {
    if (b->plan.steps().empty()) continue;
    b->executor =
        std::make_unique<Executor>(b->plan, from.model.parameters, from.gradients, arena_);
    b->executor->prepare();  // the frozen part keeps its values during a phase
  }
}

BatchExecutors::Bound BatchExecutors::make(const Graph& graph, Index n,
                                           const StepsInput& from) const {
  Spec input = sample_;
  input.shape.n = n;
  const Spec targets{{n, 1, 1, 1}, Element::F32};
  std::vector<Spec> specs;
  for (ValueId v : graph.inputs()) specs.push_back(v == graph.input(input_) ? input : targets);
  return {Plan::build(graph, specs, {Phase::Train, trainable_in(from.phase)}), nullptr};
}

StepResult BatchExecutors::run(const void* samples, const float* targets, Index n,
                               const StepState& state) {
  const Executor& e = n == full_n_ ? *full_.executor : *rest_.executor;
  std::memcpy(e.input(input_), samples, static_cast<std::size_t>(n * sample_.bytes()));
  std::memcpy(e.input("targets"), targets, static_cast<std::size_t>(n) * sizeof(float));
  const LayerContext ctx{{pool_}, &state};
  e.forward(ctx);
  e.backward(ctx);
  const auto* logits = static_cast<const float*>(e.output("logits"));
  StepResult result{n, static_cast<double>(n) * *static_cast<const float*>(e.output("loss")), 0};
  for (Index i = 0; i < n; ++i) result.correct += (logits[i] >= 0) == (targets[i] > 0.5f);
  return result;
}

Index BatchExecutors::bytes() const {
  return arena_.bytes() + full_.plan.prepared_bytes() + rest_.plan.prepared_bytes();
}

}  // namespace dfengine
