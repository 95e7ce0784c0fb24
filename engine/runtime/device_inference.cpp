#include "engine/runtime/device_inference.h"

#include <algorithm>

namespace dfengine {

DeviceInference::DeviceInference(const Graph& graph, std::string output, Index input_size,
                                 const ParameterStore& store, const Device& device)
    : graph_(graph),
      output_(std::move(output)),
      input_size_(input_size),
      store_(store),
      device_(device),
      parameters_(store, device, false) {}

Index DeviceInference::batch_for(Index n) {
  Index batch = 1;
  while (batch < n && batch < kLargestBatch) batch *= 2;
  return batch;
}

DeviceInference::Bound& DeviceInference::bound(Index batch) {
  const auto found = bound_.find(batch);
  if (found != bound_.end()) return found->second;
  const Spec images{{batch, input_size_, input_size_, 3}, Element::U8};
  if (!slots_ || slots_->bytes() < 2 * images.bytes())
    slots_ = std::make_unique<InputSlots>(device_, images.bytes());
  Bound& b = bound_[batch];
  b.plan = Plan::build(graph_, std::span(&images, 1),
                       {Phase::Infer, {}, DeviceKind::Cuda, device_.tuner()});
  b.arena = cuda::allocate_device(b.plan.arena_bytes());
  b.executor = std::make_unique<DeviceExecutor>(b.plan, store_, parameters_, b.arena.get());
  b.executor->prepare(store_, device_);
  return b;
}

void DeviceInference::reserve(Index n) {
  bound(batch_for(n));
}

void DeviceInference::refresh() {
  parameters_.upload(store_);
  for (auto& [batch, b] : bound_) b.executor->prepare(store_, device_);
}

void DeviceInference::launch(Bound& b) {
  const DeviceContext ctx{device_.compute(), nullptr};
  if (b.captured) {
    cuda::run(b.captured, device_.compute());
    return;
  }
  b.executor->forward(ctx);
  // The first run loads the kernels, which a capture must not do.
  if (!device_.config().graphs) return;
  b.captured = cuda::capture(device_.compute(), [&] { b.executor->forward(ctx); });
}

void DeviceInference::run(const std::uint8_t* images, Index n, float* out) {
  const Index image_bytes = input_size_ * input_size_ * 3;
  for (Index done = 0; done < n;) {
    const Index batch = batch_for(n - done), count = std::min(batch, n - done);
    Bound& b = bound(batch);
    const InputSlots::Part part{images + done * image_bytes, b.executor->input("images"),
                                count * image_bytes};
    slots_->feed(std::span(&part, 1));
    launch(b);
    const Spec& result = b.plan.specs()[static_cast<std::size_t>(b.plan.graph().output(output_))];
    const Index width = result.shape.c;
    cuda::download(device_.compute(), out + done * width, b.executor->output(output_),
                   count * width * static_cast<Index>(sizeof(float)));
    done += count;
  }
  cuda::synchronize(device_.compute());
}

void DeviceInference::queue(const void* images, Index n) {
  const Index image_bytes = input_size_ * input_size_ * 3;
  for (Index done = 0; done < n;) {
    const Index batch = batch_for(n - done), count = std::min(batch, n - done);
    Bound& b = bound(batch);
    cuda::copy_on_device(device_.compute(), b.executor->input("images"),
                         static_cast<const std::byte*>(images) + done * image_bytes,
                         count * image_bytes);
    launch(b);
    done += count;
  }
}

Index DeviceInference::bytes() const {
  Index total = parameters_.bytes() + (slots_ ? slots_->bytes() : 0);
  for (const auto& [batch, b] : bound_) total += b.plan.arena_bytes() + b.plan.prepared_bytes();
  return total;
}

}  // namespace dfengine
