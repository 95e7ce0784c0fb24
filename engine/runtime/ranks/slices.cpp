#include "engine/runtime/ranks/slices.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/plan/memory_planner.h"
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

// Where picture `begin` of a step lies.
ConstPlace at_picture(ConstPlace place, const Spec& spec, Index begin) {
  if (!place) return {};
  return {place.as<std::byte>() + spec.bytes() / spec.shape.n * begin};
}

}  // namespace

Cut Cut::of(Index slices, Communicator& ranks) {
  if (!std::has_single_bit(static_cast<std::uint64_t>(slices)) || slices % ranks.size() != 0)
    throw UsageError(std::to_string(slices) + " slices of a batch on " +
                     std::to_string(ranks.size()) +
                     " ranks: both are powers of two, and the ranks no more than --slices");
  const Index count = slices / ranks.size();
  return {slices, ranks.rank() * count, count, &ranks};
}

Slices::Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
               const ParameterBlock& parameters, const Cut& cut)
    : parameters_(parameters),
      cut_(cut),
      input_(graph.values()[at(graph.inputs()[0])].name),
      sample_bytes_(samples[0].bytes()),
      session_(graph, samples,
               {.phase = options.phase, .trainable = options.trainable, .sliced = true},
               parameters) {
  if (!parameters.backend().computes_in_host_memory())
    throw UsageError(
        "a batch is cut into slices on the CPU alone: use --device cpu, or one "
        "process without --slices");
}

void Slices::reserve(Index n) {
  const auto begin = [&](Index slice) { return slice_begin(n, cut_.slices, slice); };
  const Index end = cut_.first + cut_.count, pictures = begin(end) - begin(cut_.first);
  session_.reserve(std::max(pictures, Index{1}));
  for (Index slice = cut_.first; slice < end; ++slice)
    if (begin(slice + 1) > begin(slice)) plan_of(begin(slice + 1) - begin(slice));
  if (trained_.empty()) lay_out_gradients(session_.bound(std::max(pictures, Index{1})).plan);
}

// Slices of other sizes than most come where pictures cannot be read.
const Plan& Slices::plan_of(Index n) {
  const auto found = plans_.find(n);
  if (found != plans_.end()) return found->second;
  const Plan& plan = plans_.emplace(n, session_.plan(n)).first->second;
  Index most = 0;
  for (int i = 0; i < plan.forward_steps(); ++i)
    most = std::max(
        {most, plan.kernel(i).needs.forward_scratch, plan.kernel(i).needs.backward_scratch});
  if (most > scratch_bytes_) {
    scratch_bytes_ = round_up(most, kArenaAlignment);
    scratch_ = parameters_.backend().allocate(parameters_.backend().lanes() * scratch_bytes_);
  }
  return plan;
}

void Slices::lay_out_gradients(const Plan& plan) {
  std::size_t most = 0;
  Index all = 0;
  for (const Step& step : plan.steps()) {
    Trained& trained = trained_.emplace_back();
    if (step.kind == StepKind::Forward) continue;
    const Node& node = plan.node(step.node);
    for (const ParamSpec& p : params(node.operation, node.name)) {
      const bool is_trained = std::ranges::any_of(
          plan.trained(), [&](const ParamSpec& other) { return other.name == p.name; });
      trained.counts.push_back(is_trained ? p.count() : 0);
      trained.all += trained.counts.back();
    }
    most = std::max(most, trained.counts.size());
    all = std::max(all, trained.all);
  }
  places_.assign(at(cut_.count), std::vector<Place>(most));
  absent_.resize(most);
  gradients_.resize(at(all * cut_.count));
}

void Slices::put(const void* samples, const float* targets, std::span<const Slice> slices) {
  slices_.assign(slices.begin(), slices.end());
  slice_plans_.clear();
  begins_.clear();
  Index n = 0;
  for (const Slice& slice : slices) {
    slice_plans_.push_back(slice.n > 0 ? &plan_of(slice.n) : nullptr);
    begins_.push_back(n);
    n += slice.n;
  }
  empty_ = n == 0;
  part_ = {.slices = slices_, .n = std::max(n, Index{1})};
  bound_ = &session_.bound(part_.n);
  const Binding& binding = *bound_->binding;
  std::memcpy(binding.input(input_).address, samples, at(n * sample_bytes_));
  std::memcpy(binding.input("targets").address, targets, at(n) * sizeof(float));
}

BatchSums Slices::run(const StepContext& ctx, Index whole, const StepWatch& watch) {
  part_.whole = whole;
  StepContext own = ctx;
  own.part = &part_;
  const std::span gradients(parameters_.gradients().as<float>(), at(parameters_.gradient_count()));
  if (empty_) std::ranges::fill(gradients, 0.0f);
  BatchSums batch;
  const std::vector<BoundStep>& steps = bound_->binding->steps();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].kind == StepKind::Forward)
      forward(own, s);
    else
      backward(own, s);
    if (steps[s].kind == StepKind::Forward && steps[s].kernel->needs.starts_backward)
      batch = {sums_[0], sums_[1]};
    if (watch && !empty_) watch(steps[s]);
  }
  cut_.ranks->sum(gradients);
  return batch;
}

void Slices::forward(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  const bool sums = static_cast<bool>(step.kernel->forward_sums);
  if (sums) add_sums(ctx, s);
  // Running statistics move on a rank without pictures, too.
  if (!empty_ || sums) step.kernel->forward(ctx, step.forward);
}

// Gradients of parameters first: dx may lie where dy does.
void Slices::backward(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  if (step.kernel->backward_sums)
    add_sums(ctx, s);
  else if (trained_[s].all > 0)
    for_slices(ctx, s, [&](const StepContext& own, const Kernel& kernel, Index i, Place scratch) {
      kernel.backward(own, backward_of(step, i, scratch));
    });
  if (trained_[s].all > 0) add_gradients(ctx, s);
  if (empty_) return;
  BackwardIo rest = step.backward;
  rest.dparams = absent_;
  step.kernel->backward(ctx, rest);
}

// Calls body(context, kernel, slice, scratch) for every slice that has pictures: side by side where
// threads get as many slices each, so that they wait for each other once a layer and not in every
// slice.
template <class Body>
void Slices::for_slices(const StepContext& ctx, std::size_t s, Body&& body) {
  const Backend& backend = parameters_.backend();
  const int node = bound_->plan.steps()[s].node;
  const auto one = [&](Index i, int lane, const Queue& queue) {
    if (slice_plans_[at(i)] == nullptr) return;
    StepContext own = ctx;
    own.queue = queue;
    body(own, slice_plans_[at(i)]->kernel(node), i, Place{scratch_.get() + lane * scratch_bytes_});
  };
  if (cut_.count % backend.lanes() == 0) return backend.side_by_side(cut_.count, one);
  for (Index i = 0; i < cut_.count; ++i) one(i, 0, ctx.queue);
}

// What a layer sums over all slices.
void Slices::add_sums(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  const Index count = step.kernel->sums;
  sums_.assign(at(count * cut_.count), 0.0);
  for_slices(ctx, s, [&](const StepContext& own, const Kernel& kernel, Index i, Place scratch) {
    double* sums = sums_.data() + i * count;
    if (step.kind == StepKind::Backward)
      return kernel.backward_sums(own, backward_of(step, i, scratch), sums);
    ForwardIo io = step.forward;
    for (std::size_t k = 0; k < step.in.size(); ++k)
      io.x[k] = at_picture(io.x[k], step.in[k], begins_[at(i)]);
    io.scratch = scratch;
    kernel.forward_sums(own, io, sums);
  });
  add_tree(sums_.data(), count, cut_.count, 0, count);
  cut_.ranks->sum(std::span(sums_).first(at(count)));
  part_.sums = sums_.data();
}

// The step for a slice, with gradients of parameters alone, which go to the slice's place.
BackwardIo Slices::backward_of(const BoundStep& step, Index slice, Place scratch) {
  const Index begin = begins_[at(slice)];
  const Trained& trained = trained_[at(std::distance(bound_->binding->steps().data(), &step))];
  BackwardIo io = step.backward;
  for (std::size_t k = 0; k < step.in.size(); ++k) io.x[k] = at_picture(io.x[k], step.in[k], begin);
  io.y = at_picture(io.y, step.out, begin);
  io.dy = at_picture(io.dy, step.out, begin);
  io.dx = {};
  io.scratch = scratch;
  std::vector<Place>& places = places_[at(slice)];
  float* gradients = gradients_.data() + slice * trained.all;
  for (std::size_t k = 0; k < trained.counts.size(); ++k) {
    places[k] = trained.counts[k] > 0 ? Place{gradients} : Place{};
    gradients += trained.counts[k];
  }
  io.dparams = places;
  return io;
}

// Those of a layer while its slices lie in a cache.
void Slices::add_gradients(const StepContext& ctx, std::size_t s) {
  constexpr Index kTask = 2048;
  const Trained& trained = trained_[s];
  for (std::size_t i = 0; i < slices_.size(); ++i)
    if (slices_[i].n == 0)
      std::fill_n(gradients_.begin() + static_cast<Index>(i) * trained.all, trained.all, 0.0f);
  float* from = gradients_.data();
  for (std::size_t k = 0; k < trained.counts.size(); ++k) {
    const Index count = trained.counts[k];
    float* to = bound_->binding->steps()[s].backward.dparams[k].as<float>();
    parallel_for(*ctx.queue.pool, divide_up(count, kTask), [&](Index task, int) {
      const Index begin = task * kTask, end = std::min(begin + kTask, count);
      add_tree(from, trained.all, cut_.count, begin, end);
      std::copy(from + begin, from + end, to + begin);
    });
    from += count;
  }
}

Index Slices::bytes() const {
  return session_.bytes() + parameters_.backend().lanes() * scratch_bytes_ +
         std::ssize(gradients_) * kFloatBytes;
}

}  // namespace dfengine
