#include "engine/device/device_training.h"

#include <algorithm>

#include "kernels/error.h"

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
  return n * (sample.bytes() + kFloat);
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
    : input_(std::move(input)),
      sample_(sample),
      store_(store),
      device_(device),
      adam_(options.adam),
      batch_(options.batch),
      rest_(options.rest),
      parameters_(store, device, true),
      full_(make(graph, batch_, options)),
      last_(rest_ > 0 ? make(graph, rest_, options) : Bound{}),
      slots_(device, batch_bytes(sample, std::max(batch_, rest_))) {
  const auto chunks = parameters_.adam_chunks(store, options.trained, options.weight_decay);
  chunk_count_ = static_cast<Index>(chunks.size());
  chunks_ = structs_on_device(device, chunks);
  records_ = structs_on_device(device, std::vector<StepRecord>(kStepRecords));
  const ScalerState scaler = initial_scaler(device.options().precision);
  StepScalars first;
  first.seed = options.seed;
  first.loss_scale = scaler.loss_scale;
  if (device.options().precision == Precision::Fp16) first.growth_interval = kGrowthInterval;
  scalars_ = structs_on_device(device, std::vector<StepScalars>{first});
  arena_bytes_ = std::max(full_.plan.arena_bytes(), last_.plan.arena_bytes());
  arena_ = cuda::allocate_device(arena_bytes_);
  for (Bound* b : {&full_, &last_}) {
    if (b->plan.steps().empty()) continue;
    b->executor = std::make_unique<DeviceExecutor>(b->plan, store, parameters_, arena_.get());
    b->executor->prepare(store, device);  // the frozen part keeps its values
  }
}

DeviceTraining::Bound DeviceTraining::make(const Graph& graph, Index n,
                                           const DeviceTrainingOptions& options) const {
  Spec input = sample_;
  input.shape.n = n;
  const Spec targets{{n, 1, 1, 1}, Element::F32};
  std::vector<Spec> specs;
  for (ValueId v : graph.inputs()) specs.push_back(v == graph.input(input_) ? input : targets);
  return {Plan::build(graph, specs, {Phase::Train, options.trainable, DeviceKind::Cuda}), nullptr,
          nullptr};
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

void DeviceTraining::start(const std::vector<float>& learning_rates) {
  if (!pending_.empty()) throw Error("device training: results of the last epoch were not read");
  rates_ = structs_on_device(device_, learning_rates);
  StepScalars now = scalars();
  now.position = 0;
  put(now);
  // Captured steps hold the old table's address.
  full_.captured.reset();
  last_.captured.reset();
}

void DeviceTraining::queue(const Bound& b, Index n) {
  const cuda::Stream stream = device_.compute();
  const DeviceContext ctx{stream, device_scalars()};
  const DeviceExecutor& e = *b.executor;
  e.forward(ctx);
  // Before backward, which may put gradients where the targets lie.
  cuda::record_step(stream, n, static_cast<const float*>(e.output("logits")),
                    static_cast<const float*>(e.input("targets")),
                    static_cast<const float*>(e.output("loss")), device_scalars(),
                    static_cast<StepRecord*>(records_.get()));
  e.backward(ctx);
  cuda::check_finite(stream, parameters_.count(), parameters_.gradients(), device_scalars());
  const auto update = [&](auto t) {
    using T = decltype(t);
    cuda::adam_update<T>(stream, adam_, device_scalars(), static_cast<const float*>(rates_.get()),
                         static_cast<const cuda::AdamChunk*>(chunks_.get()), chunk_count_,
                         parameters_.gradients(), parameters_.values(), parameters_.first_moment(),
                         parameters_.second_moment(), static_cast<T*>(parameters_.working()));
  };
  with_device_element(device_.element(), update);
  cuda::finish_step(stream, device_scalars());
}

void DeviceTraining::step(const void* samples, const float* targets, Index n) {
  if (n != batch_ && n != rest_) throw Error("device training: no plan for this batch size");
  if (pending_.size() == kStepRecords) {
    const StepSums sums = collect();
    sums_ = sums;  // given with the next collection
  }
  Bound& b = n == batch_ ? full_ : last_;
  const InputSlots::Part parts[] = {{samples, b.executor->input(input_), n * sample_.bytes()},
                                    {targets, b.executor->input("targets"), n * kFloat}};
  slots_.feed(parts);
  pending_.push_back(n);
  if (b.captured) {
    cuda::run(b.captured, device_.compute());
    return;
  }
  queue(b, n);
  // The first run loads the kernels, which a capture must not do.
  if (!device_.options().graphs) return;
  cuda::begin_capture(device_.compute());
  queue(b, n);
  b.captured = cuda::end_capture(device_.compute());
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
         last_.plan.prepared_bytes();
}

}  // namespace dfengine
