#include "engine/runtime/training.h"

#include <algorithm>
#include <array>

#include "engine/runtime/finite_check.h"
#include "kernels/base/error.h"
#include "kernels/gradients.h"

namespace dfengine {
namespace {

constexpr Index kRecordBytes = kStepRecords * sizeof(StepRecord);

std::vector<Spec> samples_of(const Graph& graph, Spec sample) {
  std::vector<Spec> samples(graph.inputs().size(), sample);
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (graph.inputs()[i] == graph.input("targets")) samples[i] = {{1, 1, 1, 1}, Element::F32};
  return samples;
}

PlanOptions plan_options(const TrainingOptions& options) {
  return {.phase = Phase::Train,
          .trainable = options.trainable,
          .grad_checkpoint = options.grad_checkpoint};
}

}  // namespace

ScalerState initial_scaler(Element element) {
  ScalerState state;
  if (element == Element::F16) state.loss_scale = kInitialLossScale;
  return state;
}

Training::Training(const Graph& graph, Spec sample, ParameterStore& store, const Backend& backend,
                   const TrainingOptions& options)
    : backend_(backend),
      options_(options),
      input_(graph.values()[at(graph.inputs()[0])].name),
      sample_(sample),
      store_(store),
      parameters_(graph, store, backend, options.trainable),
      session_(graph, samples_of(graph, sample), plan_options(options), parameters_),
      step_input_(backend.allocate(sizeof(StepInput))),
      scalars_(backend.allocate(sizeof(StepScalars))),
      records_(backend.allocate(kRecordBytes)),
      feed_(backend.make_feed(options.batch * (sample.bytes() + kFloatBytes) +
                              Index{sizeof(StepInput)})) {
  // Targets and moments are floats.
  if (backend.parameter_element() != Element::F32) throw UsageError("training computes in float");
  StepScalars first;
  first.loss_scale = initial_scaler(backend.element()).loss_scale;
  if (backend.element() == Element::F16) first.growth_interval = kGrowthInterval;
  put(first);
  Update update = parameters_.update(store, options.adam, options.weight_decay, options.rate);
  update.input = Place{step_input_.get()}.as<StepInput>();
  update.scalars = scalars_place();
  update_ = backend.make_update(update);
  if (options.gathers) {
    gradient_sum_ = backend.allocate(parameters_.gradient_count() * kFloatBytes);
    std::erase_if(update.ranges, [](const UpdateRange& range) { return !range.commit; });
    commit_ = backend.make_update(update);
  }
  if (options.clip_grad > 0)
    clip_scratch_ =
        backend.allocate(clip_scratch(parameters_.gradient_count()) * Index{sizeof(double)});
  pending_.reserve(kStepRecords);
  if (!options.cut.whole())
    slices_ = std::make_unique<Slices>(graph, samples_of(graph, sample), plan_options(options),
                                       parameters_, options.cut);
  const auto reserve = [&](Index n) { slices_ ? slices_->reserve(n) : session_.reserve(n); };
  reserve(options.batch);
  if (options.rest > 0) reserve(options.rest);
}

StepScalars Training::scalars() const {
  StepScalars now;
  backend_.download(&now, scalars_.get(), sizeof now);
  backend_.synchronize();
  return now;
}

void Training::put(const StepScalars& scalars) {
  backend_.upload(scalars_.get(), &scalars, sizeof scalars);
  backend_.synchronize();
}

StepWatch Training::finite_watch() const {
  if (!options_.check_finite) return {};
  const auto fetch = [this, host = std::vector<std::byte>()](const void* memory,
                                                             Index bytes) mutable {
    host.resize(at(bytes));
    backend_.download(host.data(), memory, bytes);
    backend_.synchronize();
    return std::span<const std::byte>(host);
  };
  const bool gradients = backend_.element() != Element::F16;
  return [gradients, fetch = Fetch(fetch)](const BoundStep& step) {
    require_finite(step, gradients, fetch);
  };
}

StepContext Training::context() const {
  return {backend_.queue(), Place{step_input_.get()}.as<StepInput>(), scalars_place()};
}

void Training::queue(const Session::Bound& bound, Index n, StepEnd end) {
  const Binding& binding = *bound.binding;
  const StepContext ctx = context();
  const StepWatch watch = finite_watch();
  binding.forward(ctx, watch);
  // Before backward, which may put gradients where the targets lie.
  backend_.record(n, binding.output("logits"), binding.input("targets"), binding.output("loss"),
                  scalars_place(), Place{records_.get()}.as<StepRecord>());
  binding.backward(ctx, watch);
  queue_end(end);
}

// What becomes of the batch's gradients and running statistics.
void Training::queue_end(StepEnd end) {
  backend_.check_finite(parameters_.next(), parameters_.next_count(), scalars_place());
  if (end == StepEnd::Update) return queue_update();
  const Index count = parameters_.gradient_count();
  backend_.check_finite(parameters_.gradients(), count, scalars_place());
  backend_.add_gradients(count, parameters_.gradients(), {gradient_sum_.get()});
  commit_();
  backend_.wait(scalars_place());
}

void Training::queue_update() {
  const auto* input = Place{step_input_.get()}.as<StepInput>();
  const Index count = parameters_.gradient_count();
  const Place gradients = parameters_.gradients();
  if (gradient_sum_) backend_.take_gradients(count, input, {gradient_sum_.get()}, gradients);
  backend_.check_finite(gradients, count, scalars_place());
  if (clip_scratch_)
    backend_.clip_gradients(count, options_.clip_grad, scalars_place(), {clip_scratch_.get()},
                            gradients);
  update_();
  if (options_.averages)
    backend_.move_average(parameters_.value_count(), input, scalars_place(),
                          parameters_.all_values(), parameters_.average());
  backend_.finish(scalars_place());
}

void Training::step(const void* samples, const float* targets, Index n, const StepInput& input,
                    StepEnd end) {
  if (n < 1 || n > options_.batch)
    throw Error("training: a step of " + std::to_string(n) + " samples, planned for " +
                std::to_string(options_.batch));
  const StepInput now = scaled(input, end);
  Session::Bound& bound = session_.bound(n);
  const Feed::Part parts[] = {{samples, bound.binding->input(input_).address, n * sample_.bytes()},
                              {targets, bound.binding->input("targets").address, n * kFloatBytes},
                              {&now, step_input_.get(), sizeof now}};
  feed_->put(parts);
  launch(bound, n, end);
}

void Training::step(const void* samples, const float* targets, std::span<const Slice> slices,
                    Index whole, const StepInput& input, StepEnd end) {
  const StepInput now = scaled(input, end);
  const Slices::Inputs to = slices_->prepare(slices, whole);
  const Feed::Part parts[] = {{&now, step_input_.get(), sizeof now},
                              {samples, to.samples.address, to.n * sample_.bytes()},
                              {targets, to.targets.address, to.n * kFloatBytes}};
  feed_->put(std::span(parts).first(to.n > 0 ? 3 : 1));
  count(whole);
  const auto body = [this, whole, end] {
    slices_->queue(context(), finite_watch(), [&](const double* sums) {
      backend_.record_sums(sums, whole, scalars_place(), Place{records_.get()}.as<StepRecord>());
    });
    queue_end(end);
  };
  if (options_.check_finite) return body();  // it waits, which a captured step cannot
  slices_->launch(body, end == StepEnd::Update ? 0 : 1);
}

StepInput Training::scaled(const StepInput& input, StepEnd end) {
  StepInput scaled = input;
  ++waiting_;
  scaled.gradient_scale = 1.0 / static_cast<double>(waiting_);
  if (end == StepEnd::Update) waiting_ = 0;
  return scaled;
}

void Training::forget_waiting() {
  if (waiting_ == 0) return;
  const Index bytes = parameters_.gradient_count() * kFloatBytes;
  const std::vector<std::byte> zeros(at(bytes));
  backend_.upload(gradient_sum_.get(), zeros.data(), bytes);
  backend_.synchronize();
  waiting_ = 0;
}

void Training::step_resident(ConstPlace samples, ConstPlace targets, Index n) {
  Session::Bound& bound = session_.bound(n);
  backend_.copy(bound.binding->input(input_).address, samples.address, n * sample_.bytes());
  backend_.copy(bound.binding->input("targets").address, targets.address, n * kFloatBytes);
  launch(bound, n, StepEnd::Update);
}

// A step of n samples, whose record is read later.
void Training::count(Index n) {
  // Given with the next collection.
  if (pending_.size() == kStepRecords) sums_ = collect();
  pending_.push_back(n);
}

void Training::launch(Session::Bound& bound, Index n, StepEnd end) {
  count(n);
  const auto body = [this, &bound, n, end] { queue(bound, n, end); };
  if (options_.check_finite) return body();  // it waits, which a captured step cannot
  session_.launch(bound, body, end == StepEnd::Update ? 0 : 1);
}

StepSums Training::collect() {
  std::vector<StepRecord> records(kStepRecords);
  backend_.download(records.data(), records_.get(), kRecordBytes);
  const std::uint64_t position = scalars().position;
  StepSums sums = sums_;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const StepRecord& record = records[(position - pending_.size() + i) % kStepRecords];
    sums.n += pending_[i];
    sums.loss += static_cast<double>(record.loss) * static_cast<double>(pending_[i]);
    sums.right += static_cast<Index>(record.right);
  }
  pending_.clear();
  sums_ = {};
  return sums;
}

StepSums Training::collect_at_times() {
  if (std::ssize(pending_) < backend_.steps_between_reads()) return {};
  return collect();
}

ScalerState Training::download() {
  parameters_.download(store_);
  const StepScalars now = scalars();
  return {now.step, now.skipped, now.loss_scale, now.good_steps};
}

void Training::upload(const Moments& moments, const ScalerState& scaler) {
  parameters_.upload();
  parameters_.upload(moments);
  StepScalars now = scalars();
  now.step = scaler.step;
  now.skipped = scaler.skipped;
  now.loss_scale = scaler.loss_scale;
  now.good_steps = scaler.good_steps;
  put(now);
}

Index Training::bytes() const {
  const Index sum = gradient_sum_ ? parameters_.gradient_count() * kFloatBytes : 0;
  return parameters_.bytes() + session_.bytes() + (slices_ ? slices_->bytes() : 0) +
         feed_->bytes() + sum;
}

}  // namespace dfengine
