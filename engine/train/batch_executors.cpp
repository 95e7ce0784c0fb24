#include "engine/train/batch_executors.h"

#include <algorithm>
#include <cstring>

#include "engine/runtime/finite_check.h"
#include "engine/train/device_batches.h"
#include "kernels/base/error.h"

namespace dfengine {

BatchExecutors::BatchExecutors(Graph graph, std::string input, Spec sample, const StepsInput& from)
    : from_(from), graph_(std::move(graph)), input_(std::move(input)), sample_(sample) {
  const auto samples = static_cast<Index>(from.train.samples.size());
  full_n_ = std::min(from.options.batch_size, samples);
  rest_n_ = samples % full_n_;
  full_ = plan(full_n_);
  if (rest_n_ > 0) rest_ = plan(rest_n_);
  arena_ = Memory(std::max(full_.plan.arena_bytes(), rest_.plan.arena_bytes()));
  bind(full_);
  if (rest_n_ > 0) bind(rest_);
}

BatchExecutors::Bound BatchExecutors::plan(Index n) const {
  Spec input = sample_;
  input.shape.n = n;
  const Spec targets{{n, 1, 1, 1}, Element::F32};
  std::vector<Spec> specs;
  for (ValueId v : graph_.inputs()) specs.push_back(v == graph_.input(input_) ? input : targets);
  return {Plan::build(graph_, specs, {Phase::Train, trainable_in(from_.phase)}), nullptr};
}

void BatchExecutors::bind(Bound& bound) const {
  bound.executor =
      std::make_unique<Executor>(bound.plan, from_.model.parameters, from_.gradients, arena_);
  bound.executor->prepare();  // the frozen part keeps its values during a phase
}

const Executor& BatchExecutors::executor(Index n) {
  if (n == full_n_) return *full_.executor;
  if (n == rest_n_) return *rest_.executor;
  if (n != odd_n_) {
    odd_n_ = 0;
    odd_.executor.reset();
    odd_ = plan(n);
    // Between two steps the arena holds nothing, and a smaller batch's plan may, rarely, be larger.
    if (odd_.plan.arena_bytes() > arena_.bytes())
      throw Error("a batch of " + std::to_string(n) + " needs more memory than one of " +
                  std::to_string(full_n_) + ": --on-bad fail names the pictures to mend");
    bind(odd_);
    odd_n_ = n;
  }
  return *odd_.executor;
}

StepResult BatchExecutors::run(const void* samples, const float* targets, Index n,
                               const StepState& state) {
  if (n == 0) return {};
  const Executor& e = executor(n);
  std::memcpy(e.input(input_), samples, static_cast<std::size_t>(n * sample_.bytes()));
  std::memcpy(e.input("targets"), targets, static_cast<std::size_t>(n) * sizeof(float));
  const LayerContext ctx{{from_.pool}, &state};
  StepWatch watch;
  if (from_.options.check_finite)
    watch = [](const BoundStep& step) {
      require_finite(step, true, [](const void* memory, Index bytes) {
        return std::span(static_cast<const std::byte*>(memory), static_cast<std::size_t>(bytes));
      });
    };
  e.forward(ctx, watch);
  e.backward(ctx, watch);
  const auto* logits = static_cast<const float*>(e.output("logits"));
  StepResult result{n, static_cast<double>(n) * *static_cast<const float*>(e.output("loss")), 0};
  for (Index i = 0; i < n; ++i) result.correct += (logits[i] >= 0) == (targets[i] > 0.5f);
  return result;
}

Index BatchExecutors::bytes() const {
  return arena_.bytes() + full_.plan.prepared_bytes() + rest_.plan.prepared_bytes();
}

std::unique_ptr<BatchRunner> make_batch_runner(Graph graph, std::string input, Spec sample,
                                               const StepsInput& in) {
  if (in.device != nullptr)
    return std::make_unique<DeviceBatches>(std::move(graph), std::move(input), sample, in);
  return std::make_unique<BatchExecutors>(std::move(graph), std::move(input), sample, in);
}

Element element_for(const StepsInput& in) {
  return in.device != nullptr ? in.device->element() : Element::F32;
}

}  // namespace dfengine
