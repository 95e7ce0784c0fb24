#include "engine/model/predictor.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Pictures that go through the network together. More would push the widest activations out of the
// caches without making any layer's work better (bench/NOTES.md, "inference batch").
constexpr Index kSlice = 4;

Graph graph_for(const Model& model, Predictor::Output output, const Device* device) {
  MobileNetV2Config config = model.config;
  if (output == Predictor::Output::Pooled) config.head = Head::None;
  return make_mobilenet_v2(config, device != nullptr ? device->element() : Element::F32);
}

const char* name_of(Predictor::Output output) {
  return output == Predictor::Output::Pooled ? "pooled" : "logits";
}

}  // namespace

Predictor::Predictor(Model& model, ThreadPool& pool, Output output, const Device* device)
    : model_(model), pool_(pool), output_(output), graph_(graph_for(model, output, device)) {
  if (output == Output::Logits && model.config.head == Head::None)
    throw UsageError("this model has no head, so no logits: only pooled features");
  const Spec image{{1, input_size(), input_size(), 3}, Element::U8};
  const ValueId result = graph_.output(name_of(output));
  width_ = graph_.infer(std::span(&image, 1))[static_cast<std::size_t>(result)].shape.c;
  if (device != nullptr)
    device_ = std::make_unique<DeviceInference>(graph_, name_of(output), input_size(),
                                                model.parameters, *device);
  reserve(1);
}

Predictor::Bound& Predictor::bound(Index n) {
  const auto found = bound_.find(n);
  if (found != bound_.end()) return found->second;
  Bound& b = bound_[n];
  const Index size = model_.config.input_size;
  const Spec images{{n, size, size, 3}, Element::U8};
  b.plan = Plan::build(graph_, std::span(&images, 1), {Phase::Infer, {}});
  b.arena = Memory(b.plan.arena_bytes());
  b.executor = std::make_unique<Executor>(b.plan, model_.parameters, nullptr, b.arena);
  b.executor->prepare();
  return b;
}

Index Predictor::host_batch(Index n) {
  return n >= kSlice ? kSlice : 1;
}

void Predictor::reserve(Index n) {
  if (device_) return device_->reserve(n);
  bound(host_batch(n));
}

void Predictor::refresh() {
  if (device_) return device_->refresh();
  for (auto& [n, b] : bound_) b.executor->prepare();
}

void Predictor::run(const std::uint8_t* images, Index n, float* out) {
  if (device_) return device_->run(images, n, out);
  run_on_cpu(images, n, out);
}

void Predictor::run_on_cpu(const std::uint8_t* images, Index n, float* out) {
  const Index image_bytes = input_size() * input_size() * 3;
  for (Index done = 0; done < n;) {
    const Index count = host_batch(n - done);
    const Executor& e = *bound(count).executor;
    std::memcpy(e.input("images"), images + done * image_bytes,
                static_cast<std::size_t>(count * image_bytes));
    e.forward({{pool_}, nullptr});
    const auto* result = static_cast<const float*>(e.output(name_of(output_)));
    std::copy_n(result, count * width_, out + done * width_);
    done += count;
  }
}

Index Predictor::bytes() const {
  Index total = device_ ? device_->bytes() : 0;
  for (const auto& [n, b] : bound_) total += b.arena.bytes() + b.plan.prepared_bytes();
  return total;
}

}  // namespace dfengine
