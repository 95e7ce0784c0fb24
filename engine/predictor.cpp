#include "engine/predictor.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"

namespace dfengine {
namespace {

// Pictures that go through the network together. More would push the widest activations out of the
// caches without making any layer's work better (bench/NOTES.md, "inference batch").
constexpr Index kSlice = 4;

Graph graph_for(const Model& model, Predictor::Output output) {
  MobileNetV2Config config = model.config;
  if (output == Predictor::Output::Pooled) config.head = Head::None;
  return make_mobilenet_v2(config);
}

const char* name_of(Predictor::Output output) {
  return output == Predictor::Output::Pooled ? "pooled" : "logits";
}

}  // namespace

Predictor::Predictor(Model& model, cpu::ThreadPool& pool, Output output)
    : model_(model), pool_(pool), output_(output), graph_(graph_for(model, output)) {
  if (output == Output::Logits && model.config.head == Head::None)
    throw UsageError("this model has no head, so no logits: only pooled features");
  const Bound& one = bound(1);
  width_ =
      one.plan.specs()[static_cast<std::size_t>(one.plan.graph().output(name_of(output)))].shape.c;
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

void Predictor::reserve(Index n) {
  if (n >= kSlice) bound(kSlice);
}

void Predictor::refresh() {
  for (auto& [n, b] : bound_) b.executor->prepare();
}

void Predictor::run(const std::uint8_t* images, Index n, float* out) {
  const Index image_bytes = input_size() * input_size() * 3;
  for (Index done = 0; done < n;) {
    const Index count = n - done >= kSlice ? kSlice : 1;
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
  Index total = 0;
  for (const auto& [n, b] : bound_) total += b.arena.bytes() + b.plan.prepared_bytes();
  return total;
}

}  // namespace dfengine
