#include "engine/runtime/ranks/slices.h"

#include <algorithm>

#include "engine/plan/memory_planner.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

PlanOptions sliced(PlanOptions options) {
  options.sliced = true;
  return options;
}

// What a plan's kernels are for n samples: the same nodes, whatever the rewrites of another size.
std::vector<Kernel> kernels_of(const Plan& plan, Index n, const Backend& backend) {
  std::vector<Spec> inputs;
  for (const ValueId v : plan.graph().inputs()) {
    inputs.push_back(plan.spec(v));
    inputs.back().shape.n = n;
  }
  const std::vector<Spec> specs = plan.graph().infer(inputs);
  std::vector<Kernel> kernels;
  for (int i = 0; i < plan.forward_steps(); ++i) {
    const Node& node = plan.node(i);
    const std::vector<Spec> in = input_specs(node, specs);
    kernels.push_back(backend.make(node, {.phase = plan.phase(),
                                          .backward = plan.runs_backward(i),
                                          .in = in,
                                          .out = specs[at(node.output)],
                                          .sliced = true}));
  }
  return kernels;
}

}  // namespace

Slices::Slices(const Graph& graph, const std::vector<Spec>& samples, const PlanOptions& options,
               const ParameterBlock& parameters, const Cut& cut)
    : parameters_(parameters),
      backend_(parameters.backend()),
      cut_(cut),
      input_(graph.values()[at(graph.inputs()[0])].name),
      session_(graph, samples, sliced(options), parameters) {}

// Captured steps hold what joins the ranks, and give back memory only when it is not in use: what
// waits for a rank that is gone ends first.
Slices::~Slices() {
  session_.forget_captured();
  adder_.reset();
}

void Slices::reserve(Index n) {
  Usual usual{n, {}};
  for (Index i = cut_.first; i < cut_.first + cut_.count; ++i) {
    const Index first = slice_begin(n, cut_.slices, i);
    usual.slices.push_back({first, slice_begin(n, cut_.slices, i + 1) - first});
  }
  const Slice& last = usual.slices.back();
  const Index pictures = std::max(last.first + last.n - usual.slices.front().first, Index{1});
  session_.reserve(pictures);
  const Session::Bound& bound = session_.bound(pictures);
  Known& known = known_for(bound, pictures);
  for (const Slice& slice : usual.slices)
    if (slice.n > 0) kernels_for(bound, known, slice.n);
  if (!adder_) allocate_sums(bound.plan);
  usual_.push_back(std::move(usual));
}

Slices::Known& Slices::known_for(const Session::Bound& bound, Index n) {
  const auto found = known_.find(n);
  if (found != known_.end()) return found->second;
  Known known;  // kept when all of it is there
  const Plan& plan = bound.plan;
  for (const Step& step : plan.steps()) {
    Trained& trained = known.trained.emplace_back();
    if (step.kind != StepKind::Backward) continue;
    const Node& node = plan.node(step.node);
    for (const ParamSpec& p : params(node.operation, node.name)) {
      const bool is_trained = std::ranges::any_of(
          plan.trained(), [&](const ParamSpec& other) { return other.name == p.name; });
      trained.counts.push_back(is_trained ? p.count() : 0);
      trained.all += round_up(trained.counts.back(), backend_.alignment());
    }
  }
  return known_.emplace(n, std::move(known)).first->second;
}

// Slices of other sizes than most come where pictures cannot be read.
const Slices::Kernels& Slices::kernels_for(const Session::Bound& bound, Known& known, Index slice) {
  const auto found = known.of_slices.find(slice);
  if (found != known.of_slices.end()) return found->second;
  Kernels kernels = kernels_of(bound.plan, slice, backend_);
  Index most = 0;
  for (const Kernel& k : kernels)
    most = std::max({most, k.needs.forward_scratch, k.needs.backward_scratch});
  if (most > scratch_bytes_) {
    backend_.synchronize();  // what is queued still uses the old one
    session_.forget_captured();
    const Index bytes = round_up(most, kArenaAlignment);
    scratch_ = backend_.allocate(backend_.lanes() * bytes);
    scratch_bytes_ = bytes;
  }
  return known.of_slices.emplace(slice, std::move(kernels)).first->second;
}

// Of all layers the most: the same for a plan of any number of pictures.
void Slices::allocate_sums(const Plan& plan) {
  std::size_t most = 0;
  for (int i = 0; i < plan.forward_steps(); ++i)
    most_sums_ = std::max(most_sums_, plan.kernel(i).sums);
  for (const Trained& trained : known_.begin()->second.trained) {
    most = std::max(most, trained.counts.size());
    most_gradients_ = std::max(most_gradients_, trained.all);
  }
  places_.assign(at(cut_.count), std::vector<Place>(most));
  absent_.resize(most);
  constexpr Index kSum = sizeof(double);
  sums_ = backend_.allocate(cut_.count * most_sums_ * kSum);
  gradients_ = backend_.allocate(cut_.count * most_gradients_ * kFloatBytes);
  zeros_ = backend_.allocate(std::max(most_sums_ * kSum, most_gradients_ * kFloatBytes));
  adder_ = make_slice_sums(backend_, cut_, parameters_.gradient_count(), most_sums_);
}

Slices::Inputs Slices::prepare(std::span<const Slice> slices, Index whole) {
  slices_.assign(slices.begin(), slices.end());
  begins_.clear();
  Index n = 0;
  for (const Slice& slice : slices) {
    begins_.push_back(n);
    n += slice.n;
  }
  empty_ = n == 0;
  part_ = {.slices = slices_, .n = std::max(n, Index{1}), .whole = whole};
  bound_ = &session_.bound(part_.n);
  now_ = &known_for(*bound_, part_.n);
  slice_kernels_.clear();
  for (const Slice& slice : slices)
    slice_kernels_.push_back(slice.n > 0 ? &kernels_for(*bound_, *now_, slice.n) : nullptr);
  return {bound_->binding->input(input_), bound_->binding->input("targets"), n};
}

void Slices::launch(const std::function<void()>& body, std::size_t kind) {
  for (std::size_t i = 0; i < usual_.size(); ++i)
    if (usual_[i].whole == part_.whole && usual_[i].slices == slices_)
      return session_.launch(*bound_, body, 2 * i + kind);
  body();
}

void Slices::queue(const StepContext& ctx, const StepWatch& watch, const Record& record) {
  StepContext own = ctx;
  own.part = &part_;
  const std::vector<BoundStep>& steps = bound_->binding->steps();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].kind == StepKind::Backward)
      backward(own, s);
    else
      forward(own, s);
    if (steps[s].kind == StepKind::Forward && steps[s].kernel->needs.starts_backward)
      record(part_.sums);
    if (watch && !empty_) watch(steps[s]);
  }
  adder_->of_ranks(parameters_.gradient_count(), parameters_.gradients().as<float>());
}

void Slices::forward(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  if (step.kernel->by_slice)
    return for_slices(ctx, s,
                      [&](const StepContext& own, const Kernel& kernel, Index i, Place scratch) {
                        kernel.forward(own, forward_of(step, i, scratch));
                      });
  const bool sums = step.kind == StepKind::Forward && step.kernel->forward_sums;
  if (sums) add_sums(ctx, s);
  // Running statistics move on a rank without pictures, too.
  if (!empty_ || sums) step.make(ctx);
}

// Gradients of parameters first: dx may lie where dy does.
void Slices::backward(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  const bool by_slice = step.kernel->by_slice;
  if (step.kernel->backward_sums)
    add_sums(ctx, s);
  else if (now_->trained[s].all > 0 || by_slice)
    for_slices(ctx, s, [&](const StepContext& own, const Kernel& kernel, Index i, Place scratch) {
      BackwardIo io = backward_of(step, i, scratch);
      for (std::size_t k = 0; by_slice && k < step.gradients.size(); ++k)
        io.dx[k] = at_slice(step.backward.dx[k], step.gradients[k], i);
      kernel.backward(own, io);
    });
  if (now_->trained[s].all > 0) add_gradients(s);
  if (empty_ || by_slice) return;
  BackwardIo rest = step.backward;
  rest.dparams = absent_;
  step.kernel->backward(ctx, rest);
}

// Calls body(context, kernel, slice, scratch) for every slice that has pictures: side by side where
// threads get as many slices each, so that they wait for each other once a layer and not in every
// slice.
template <class Body>
void Slices::for_slices(const StepContext& ctx, std::size_t s, Body&& body) {
  const int node = bound_->plan.steps()[s].node;
  const auto one = [&](Index i, int lane, const Queue& queue) {
    if (slice_kernels_[at(i)] == nullptr) return;
    StepContext own = ctx;
    own.queue = queue;
    body(own, (*slice_kernels_[at(i)])[at(node)], i, Place{scratch_.get() + lane * scratch_bytes_});
  };
  if (cut_.count % backend_.lanes() == 0) return backend_.side_by_side(cut_.count, one);
  for (Index i = 0; i < cut_.count; ++i) one(i, 0, ctx.queue);
}

// What a layer sums over all slices.
void Slices::add_sums(const StepContext& ctx, std::size_t s) {
  const BoundStep& step = bound_->binding->steps()[s];
  const Index count = step.kernel->sums;
  double* all = Place{sums_.get()}.as<double>();
  for (Index i = 0; i < cut_.count; ++i)
    if (slices_[at(i)].n == 0)
      clear(sums_.get() + i * count * Index{sizeof(double)}, count * Index{sizeof(double)});
  for_slices(ctx, s, [&](const StepContext& own, const Kernel& kernel, Index i, Place scratch) {
    double* sums = all + i * count;
    if (step.kind == StepKind::Forward)
      kernel.forward_sums(own, forward_of(step, i, scratch), sums);
    else
      kernel.backward_sums(own, backward_of(step, i, scratch), sums);
  });
  adder_->of_slices(cut_.count, count, count, all, all);
  adder_->of_ranks(count, all);
  part_.sums = all;
}

// Where the pictures of a slice begin in a tensor that has some of each.
Place Slices::at_slice(Place place, const Spec& spec, Index slice) const {
  if (!place || spec.shape.n != part_.n) return place;
  return {place.as<std::byte>() + spec.bytes() / spec.shape.n * begins_[at(slice)]};
}

ConstPlace Slices::at_slice(ConstPlace place, const Spec& spec, Index slice) const {
  return at_slice(Place{const_cast<void*>(place.address)}, spec, slice);
}

ForwardIo Slices::forward_of(const BoundStep& step, Index slice, Place scratch) const {
  ForwardIo io = step.forward;
  for (std::size_t k = 0; k < step.in.size(); ++k) io.x[k] = at_slice(io.x[k], step.in[k], slice);
  io.y = at_slice(io.y, step.out, slice);
  io.scratch = scratch;
  return io;
}

// The step for a slice, with gradients of parameters alone, which go to the slice's place.
BackwardIo Slices::backward_of(const BoundStep& step, Index slice, Place scratch) {
  const Trained& trained = now_->trained[at(std::distance(bound_->binding->steps().data(), &step))];
  BackwardIo io = step.backward;
  for (std::size_t k = 0; k < step.in.size(); ++k) io.x[k] = at_slice(io.x[k], step.in[k], slice);
  io.y = at_slice(io.y, step.out, slice);
  io.dy = at_slice(io.dy, step.out_gradient, slice);
  io.dx = {};
  io.scratch = scratch;
  std::vector<Place>& places = places_[at(slice)];
  float* gradients = Place{gradients_.get()}.as<float>() + slice * trained.all;
  for (std::size_t k = 0; k < trained.counts.size(); ++k) {
    places[k] = trained.counts[k] > 0 ? Place{gradients} : Place{};
    gradients += round_up(trained.counts[k], backend_.alignment());
  }
  io.dparams = places;
  return io;
}

// Those of a layer while its slices lie in a cache.
void Slices::add_gradients(std::size_t s) {
  const Trained& trained = now_->trained[s];
  for (Index i = 0; i < cut_.count; ++i)
    if (slices_[at(i)].n == 0)
      clear(gradients_.get() + i * trained.all * kFloatBytes, trained.all * kFloatBytes);
  float* from = Place{gradients_.get()}.as<float>();
  for (std::size_t k = 0; k < trained.counts.size(); ++k) {
    float* to = bound_->binding->steps()[s].backward.dparams[k].as<float>();
    if (trained.counts[k] > 0)
      adder_->of_slices(cut_.count, trained.all, trained.counts[k], from, to);
    from += round_up(trained.counts[k], backend_.alignment());
  }
}

// A slice without pictures adds zeros.
void Slices::clear(std::byte* row, Index bytes) const {
  backend_.copy(row, zeros_.get(), bytes);
}

Index Slices::bytes() const {
  return session_.bytes() + backend_.lanes() * scratch_bytes_ +
         cut_.count * (most_sums_ * Index{sizeof(double)} + most_gradients_ * kFloatBytes) +
         (adder_ ? adder_->bytes() : 0);
}

}  // namespace dfengine
