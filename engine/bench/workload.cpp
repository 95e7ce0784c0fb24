#include "engine/bench/workload.h"

#include <algorithm>
#include <cstring>

#include "engine/model/quantize.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

Graph graph_of(Work work, const Graph& graph) {
  if (work == Work::Infer) return up_to(graph, "logits");
  return with_loss(work == Work::Head ? behind(graph, "pooled") : graph);
}

PlanOptions plan_options(Work work, const BenchTarget& target) {
  if (work == Work::Infer) return {};
  const int frozen = work == Work::Train ? 0 : target.network.block_count();
  return {.phase = Phase::Train,
          .trainable = target.network.trainable_above(frozen),
          .grad_checkpoint = target.grad_checkpoint};
}

}  // namespace

Workload::Workload(const BenchTarget& target, Work work)
    : backend(target.backend),
      options(plan_options(work, target)),
      graph(graph_of(work, target.network.graph)),
      input(work == Work::Head ? "pooled" : "images"),
      sample(target.network.image) {
  if (work == Work::Head) sample = {{1, 1, 1, target.network.features}, Element::F32};
}

std::vector<Spec> Workload::samples() const {
  std::vector<Spec> specs;
  for (ValueId v : graph.inputs())
    specs.push_back(v == graph.input(input) ? sample : Spec{{1, 1, 1, 1}, Element::F32});
  return specs;
}

Plan Workload::plan(Index batch) const {
  std::vector<Spec> specs = samples();
  for (Spec& s : specs) s.shape.n = batch;
  return Plan::build(with_element(graph, backend.element()), specs, options, backend);
}

namespace {

Model quantized_model(NetworkConfig config, ThreadPool& pool) {
  config.quantization.clear();
  const CpuBackend host(pool);
  const Model model = random_model({config, pool, host});
  RandomBatches pictures(model.network.image, kLeastQuantizePictures);
  return quantize(model, reinterpret_cast<const std::uint8_t*>(pictures.next()),
                  kLeastQuantizePictures, host)
      .model;
}

}  // namespace

NetworkConfig quantized_config(const NetworkConfig& config, ThreadPool& pool) {
  return quantized_model(config, pool).config;
}

Model random_model(const BenchTarget& target) {
  if (!target.config.quantization.empty()) return quantized_model(target.config, target.pool);
  constexpr Index kPictures = 4;
  Model model = make_model(target.config, 1);
  NetworkConfig config = target.config;
  config.bn_momentum = 1;  // the batch's statistics become the running ones
  const CpuBackend host(target.pool);
  const Workload load({config, target.pool, host}, Work::Train);
  ParameterBlock parameters(load.graph, model.parameters, host, load.options.trainable);
  Session session(load.graph, load.samples(), load.options, parameters);
  const Binding& binding = *session.bound(kPictures).binding;
  RandomBatches batches(load.sample, kPictures);
  host.upload(binding.input(load.input).address, batches.next(), kPictures * load.sample.bytes());
  const StepInput input;
  const StepScalars scalars;
  binding.forward({host.queue(), &input, &scalars});
  // Gradients of 0 leave all but the running statistics as it is.
  Update statistics = parameters.update(model.parameters, {}, 0);
  statistics.input = &input;
  statistics.scalars = &scalars;
  host.make_update(statistics)();
  parameters.download(model.parameters);
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
