#include "engine/runtime/device_training.h"

#include <algorithm>
#include <span>

#include "engine/runtime/finite_check.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr Index kFloat = sizeof(float);

template <class S>
cuda::DeviceMemory structs_on_device(const Device& device, const std::vector<S>& values) {
  const auto bytes = static_cast<Index>(values.size() * sizeof(S));
  cuda::DeviceMemory memory = cuda::allocate_device(bytes);
  if (bytes > 0) cuda::upload(device.compute(), memory.get(), values.data(), bytes);
  cuda::synchronize(device.compute());
  return memory;
}

Index batch_bytes(const Spec& sample, Index n) {
  return n * (sample.bytes() + kFloat) + kFloat;
}

}  // namespace

ScalerState initial_scaler(Precision precision) {
  ScalerState state;
  if (precision == Precision::Fp16) state.loss_scale = kInitialLossScale;
  return state;
}

DeviceTraining::DeviceTraining(const Graph& graph, std::string input, Spec sample,
                               const ParameterStore& store, const Device& device,
                               const DeviceTrainingOptions& options)
    : graph_(graph),
      input_(std::move(input)),
      sample_(sample),
      store_(store),
      device_(device),
      options_(options),
      parameters_(store, device, true),
      slots_(device, batch_bytes(sample, options.batch)) {
  const auto chunks = parameters_.adam_chunks(store, options.trained, options.weight_decay);
  chunk_count_ = static_cast<Index>(chunks.size());
  chunks_ = structs_on_device(device, chunks);
  learning_rate_ = cuda::allocate_device(kFloat);
  records_ = structs_on_device(device, std::vector<StepRecord>(kStepRecords));
  const ScalerState scaler = initial_scaler(device.config().precision);
  StepScalars first;
  first.seed = options.seed;
  first.loss_scale = scaler.loss_scale;
  if (device.config().precision == Precision::Fp16) first.growth_interval = kGrowthInterval;
  scalars_ = structs_on_device(device, std::vector<StepScalars>{first});
  pending_.reserve(kStepRecords);
  full_.plan = plan(options.batch, device.tuner());
  if (options.rest > 0) rest_.plan = plan(options.rest, device.tuner());
  arena_bytes_ = std::max(full_.plan.arena_bytes(), rest_.plan.arena_bytes());
  arena_ = cuda::allocate_device(arena_bytes_);
  bind(full_);
  if (options.rest > 0) bind(rest_);
}

Plan DeviceTraining::plan(Index n, cuda::Tuner* tuner) const {
  Spec input = sample_;
  input.shape.n = n;
  const Spec targets{{n, 1, 1, 1}, Element::F32};
  std::vector<Spec> specs;
  for (ValueId v : graph_.inputs()) specs.push_back(v == graph_.input(input_) ? input : targets);
  return Plan::build(graph_, specs, {Phase::Train, options_.trainable, DeviceKind::Cuda, tuner});
}

void DeviceTraining::bind(Bound& bound) {
  bound.executor = std::make_unique<DeviceExecutor>(bound.plan, store_, parameters_, arena_.get());
  bound.executor->prepare(store_, device_);  // the frozen part keeps its values
}

DeviceTraining::Bound& DeviceTraining::bound(Index n) {
  if (n < 1 || n > options_.batch)
    throw Error("device training: a step of " + std::to_string(n) + " samples, planned for " +
                std::to_string(options_.batch));
  if (n == options_.batch) return full_;
  if (n == options_.rest) return rest_;
  if (n == odd_n_) return odd_;
  cuda::synchronize(device_.compute());  // the odd plan of before may still run
  odd_n_ = 0;
  odd_ = {plan(n, nullptr), nullptr, nullptr};  // a step or two are not worth timing for
  // Between two steps the arena holds nothing, and a smaller batch's plan may, rarely, be larger.
  if (odd_.plan.arena_bytes() > arena_bytes_)
    throw Error("a batch of " + std::to_string(n) + " needs more memory than one of " +
                std::to_string(options_.batch) + ": --on-bad fail names the pictures to mend");
  bind(odd_);
  odd_n_ = n;
  return odd_;
}

StepScalars DeviceTraining::scalars() const {
  StepScalars now;
  cuda::download(device_.compute(), &now, scalars_.get(), sizeof now);
  cuda::synchronize(device_.compute());
  return now;
}

void DeviceTraining::put(const StepScalars& scalars) {
  cuda::upload(device_.compute(), scalars_.get(), &scalars, sizeof scalars);
  cuda::synchronize(device_.compute());
}

StepWatch DeviceTraining::finite_watch() const {
  if (!options_.check_finite) return {};
  const auto fetch = [this, host = std::vector<std::byte>()](const void* memory,
                                                             Index bytes) mutable {
    host.resize(static_cast<std::size_t>(bytes));
    cuda::download(device_.compute(), host.data(), memory, bytes);
    cuda::synchronize(device_.compute());
    return std::span<const std::byte>(host);
  };
  const bool gradients = device_.config().precision != Precision::Fp16;
  return [gradients, fetch = Fetch(fetch)](const BoundStep& step) {
    require_finite(step, gradients, fetch);
  };
}

void DeviceTraining::queue(const Bound& b, Index n) {
  const cuda::Stream stream = device_.compute();
  const DeviceContext ctx{stream, device_scalars()};
  const DeviceExecutor& e = *b.executor;
  const StepWatch watch = finite_watch();
  e.forward(ctx, watch);
  // Before backward, which may put gradients where the targets lie.
  cuda::record_step(stream, n, static_cast<const float*>(e.output("logits")),
                    static_cast<const float*>(e.input("targets")),
                    static_cast<const float*>(e.output("loss")), device_scalars(),
                    static_cast<StepRecord*>(records_.get()));
  e.backward(ctx, watch);
  cuda::check_finite(stream, parameters_.count(), parameters_.gradients(), device_scalars());
  const auto update = [&](auto t) {
    using T = decltype(t);
    cuda::adam_update<T>(stream, options_.adam, device_scalars(),
                         static_cast<const float*>(learning_rate_.get()),
                         static_cast<const cuda::AdamChunk*>(chunks_.get()), chunk_count_,
                         parameters_.gradients(), parameters_.values(), parameters_.first_moment(),
                         parameters_.second_moment(), static_cast<T*>(parameters_.working()));
  };
  with_device_element(device_.element(), update);
  cuda::finish_step(stream, device_scalars());
}

void DeviceTraining::step(const void* samples, const float* targets, Index n, float learning_rate) {
  Bound& b = bound(n);
  const InputSlots::Part parts[] = {{samples, b.executor->input(input_), n * sample_.bytes()},
                                    {targets, b.executor->input("targets"), n * kFloat},
                                    {&learning_rate, learning_rate_.get(), kFloat}};
  slots_.feed(parts);
  launch(b, n);
}

void DeviceTraining::step_resident(const void* samples, const float* targets, Index n,
                                   const float* learning_rate) {
  Bound& b = bound(n);
  const cuda::Stream stream = device_.compute();
  cuda::copy_on_device(stream, b.executor->input(input_), samples, n * sample_.bytes());
  cuda::copy_on_device(stream, b.executor->input("targets"), targets, n * kFloat);
  cuda::copy_on_device(stream, learning_rate_.get(), learning_rate, kFloat);
  launch(b, n);
}

void DeviceTraining::launch(Bound& b, Index n) {
  // Given with the next collection.
  if (pending_.size() == kStepRecords) sums_ = collect();
  pending_.push_back(n);
  if (b.captured) {
    cuda::run(b.captured, device_.compute());
    return;
  }
  queue(b, n);
  // The first run loads the kernels, which a capture must not do.
  if (!device_.config().graphs || options_.check_finite) return;
  b.captured = cuda::capture(device_.compute(), [&] { queue(b, n); });
}

StepSums DeviceTraining::collect() {
  std::vector<StepRecord> records(kStepRecords);
  cuda::download(device_.compute(), records.data(), records_.get(),
                 static_cast<Index>(kStepRecords * sizeof(StepRecord)));
  const std::uint64_t position = scalars().position;
  StepSums sums = sums_;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const std::uint64_t at = position - pending_.size() + i;
    const StepRecord& record = records[at % kStepRecords];
    sums.n += pending_[i];
    sums.loss += static_cast<double>(record.loss) * static_cast<double>(pending_[i]);
    sums.right += static_cast<Index>(record.right);
  }
  pending_.clear();
  sums_ = {};
  return sums;
}

void DeviceTraining::download(ParameterStore& store, std::byte* first, std::byte* second,
                              ScalerState& scaler) {
  parameters_.download(store);
  parameters_.download_moments(store, first, second);
  const StepScalars now = scalars();
  scaler = {now.step, now.skipped, now.loss_scale, now.good_steps};
}

void DeviceTraining::upload(const ParameterStore& store, const std::byte* first,
                            const std::byte* second, const ScalerState& scaler) {
  parameters_.upload(store);
  parameters_.upload_moments(store, first, second);
  StepScalars now = scalars();
  now.step = scaler.step;
  now.skipped = scaler.skipped;
  now.loss_scale = scaler.loss_scale;
  now.good_steps = scaler.good_steps;
  put(now);
}

Index DeviceTraining::bytes() const {
  return parameters_.bytes() + arena_bytes_ + slots_.bytes() + full_.plan.prepared_bytes() +
         rest_.plan.prepared_bytes();
}

}  // namespace dfengine
