#include "engine/runtime/ranks/slices.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// values[0] = the sum of values[0], values[step], ...: the tree's part within a rank.
template <class T>
void add_tree(T* values, Index step, Index slices, Index begin, Index end) {
  for (Index distance = 1; distance < slices; distance *= 2)
    for (Index slice = 0; slice < slices; slice += 2 * distance) {
      T* to = values + slice * step;
      const T* from = to + distance * step;
      for (Index i = begin; i < end; ++i) to[i] += from[i];
    }
}

}  // namespace

Cut Cut::of(Index slices, Communicator& ranks) {
  if (!std::has_single_bit(static_cast<std::uint64_t>(slices)) || slices % ranks.size() != 0)
    throw UsageError("--slices " + std::to_string(slices) + " on " + std::to_string(ranks.size()) +
                     " ranks: both are powers of two, and the ranks no more than the slices");
  const Index count = slices / ranks.size();
  return {slices, ranks.rank() * count, count, &ranks};
}

Slices::Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
               const ParameterBlock& parameters, const Cut& cut)
    : parameters_(parameters),
      cut_(cut),
      input_(graph.values()[at(graph.inputs()[0])].name),
      sample_bytes_(samples[0].bytes()) {
  if (!parameters.backend().computes_in_host_memory())
    throw UsageError(
        "a batch is cut into slices on the CPU alone: use --device cpu, or one "
        "process without --slices");
  PlanOptions sliced = options;
  sliced.sliced = true;
  for (Index i = 0; i < cut.count; ++i)
    parts_.emplace_back().session =
        std::make_unique<Session>(graph, samples, sliced, parameters, i);
}

void Slices::reserve(Index n) {
  for (Index i = 0; i < cut_.count; ++i) {
    const Index slice = cut_.first + i;
    const Index size = slice_begin(n, cut_.slices, slice + 1) - slice_begin(n, cut_.slices, slice);
    parts_[at(i)].session->reserve(std::max(size, Index{1}));
  }
}

void Slices::put(std::span<const SlicePictures> slices) {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    const SlicePictures& pictures = slices[i];
    part.empty = pictures.n == 0;
    part.slice = {.first = pictures.first, .n = std::max(pictures.n, Index{1})};
    part.binding = part.session->bound(part.slice.n).binding.get();
    if (part.empty) continue;
    std::memcpy(part.binding->input(input_).address, pictures.samples,
                at(pictures.n * sample_bytes_));
    std::memcpy(part.binding->input("targets").address, pictures.targets,
                at(pictures.n) * sizeof(float));
  }
}

BatchSums Slices::run(const StepContext& ctx, Index whole, const StepWatch& watch) {
  for (Part& part : parts_) part.slice.whole = whole;
  run_steps(ctx, StepKind::Forward, watch);
  const BatchSums sums = add_losses();
  run_steps(ctx, StepKind::Backward, watch);
  add_gradients(ctx.queue);
  return sums;
}

void Slices::run_steps(StepContext ctx, StepKind kind, const StepWatch& watch) {
  const bool forward = kind == StepKind::Forward;
  const std::vector<BoundStep>& steps = parts_[0].binding->steps();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].kind != kind) continue;
    const bool sums = steps[s].kernel->sums > 0;
    if (sums) add_sums(ctx, s);
    for (const Part& part : parts_) {
      // Running statistics move on a rank without pictures, too.
      if (part.empty && !(sums && forward)) continue;
      const BoundStep& step = part.binding->steps()[s];
      ctx.slice = &part.slice;
      dfengine::run(step, ctx);
      if (watch && !part.empty) watch(step);
    }
  }
}

// What a layer sums over all slices, for each of them to read.
void Slices::add_sums(StepContext ctx, std::size_t s) {
  const Index count = parts_[0].binding->steps()[s].kernel->sums;
  sums_.assign(at(count * cut_.count), 0.0);
  double* sums = sums_.data();
  for (const Part& part : parts_) {
    const BoundStep& step = part.binding->steps()[s];
    ctx.slice = &part.slice;
    if (!part.empty && step.kind == StepKind::Forward)
      step.kernel->forward_sums(ctx, step.forward, sums);
    else if (!part.empty)
      step.kernel->backward_sums(ctx, step.backward, sums);
    sums += count;
  }
  add_tree(sums_.data(), count, cut_.count, 0, count);
  cut_.ranks->sum(std::span(sums_).first(at(count)));
  for (Part& part : parts_) part.slice.sums = sums_.data();
}

BatchSums Slices::add_losses() {
  constexpr Index kValues = 2;
  std::vector<double> sums(at(kValues * cut_.count));
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    if (part.empty) continue;
    const float* logits = part.binding->output("logits").as<float>();
    const float* targets = part.binding->input("targets").as<float>();
    sums[i * kValues] =
        double{*part.binding->output("loss").as<float>()} * static_cast<double>(part.slice.n);
    for (Index k = 0; k < part.slice.n; ++k)
      sums[i * kValues + 1] += (logits[k] >= 0) == (targets[k] > 0.5f) ? 1 : 0;
  }
  add_tree(sums.data(), kValues, cut_.count, 0, kValues);
  cut_.ranks->sum(std::span(sums).first(kValues));
  return {sums[0], sums[1]};
}

void Slices::add_gradients(const Queue& queue) {
  constexpr Index kTask = 2048;  // of every slice together they stay in a first or second cache
  const Index count = parameters_.gradient_count();
  for (std::size_t i = 0; i < parts_.size(); ++i)
    if (parts_[i].empty)
      std::memset(parameters_.gradients(static_cast<Index>(i)).address, 0,
                  at(count) * sizeof(float));
  float* gradients = parameters_.gradients().as<float>();
  parallel_for(*queue.pool, divide_up(count, kTask), [&](Index task, int) {
    add_tree(gradients, count, cut_.count, task * kTask, std::min((task + 1) * kTask, count));
  });
  cut_.ranks->sum(std::span(gradients, at(count)));
}

Index Slices::bytes() const {
  Index bytes = 0;
  for (const Part& part : parts_) bytes += part.session->bytes();
  return bytes;
}

}  // namespace dfengine
