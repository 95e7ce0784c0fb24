// What timing a node costs beside its time, and that it can be done.
#include "engine/runtime/node_timing.h"

#include "tests/engine/runtime/device_support.h"
#include "tests/engine/runtime/forwarding_backend.h"

namespace dfengine::test {
namespace {

class CountsUploads : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  void upload(void* to, const void* from, Index bytes) const override {
    uploaded += bytes;
    ForwardingBackend::upload(to, from, bytes);
  }
  mutable Index uploaded = 0;
};

// Runs every form that a plan may take, as a GPU does that times them; each is as fast as any
// other.
class RunsEveryForm final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    ++forms;
    return time_node(*this, node, query);
  }
  double milliseconds(const std::function<void()>&) const override { return 1; }
  std::function<void()> capture(std::function<void()>) const override {
    return [] {};
  }
  mutable int forms = 0;
};

class HasNoRoom final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  OwnedMemory allocate(Index) const override { throw OutOfDeviceMemory("cudaMalloc failed"); }
};

// A run that fits into the device's memory must not fail for want of room to time it.
TEST(NodeTiming, WhatHasNoRoomIsNotTimed) {
  const CpuBackend cpu(shared_pool());
  Node node;
  node.name = "pool";
  node.operation = GlobalAveragePool{};
  const Spec in{{4, 8, 8, 8}, Element::F32};
  const KernelQuery query{.in = {&in, 1}, .out = infer(node.operation, node.name, {&in, 1})};
  EXPECT_EQ(time_node(HasNoRoom(cpu), node, query), std::nullopt);
}

// A first convolution has no gradient to give.
TEST(NodeTimingDevice, EveryFormOfATrainingPlanCanBeTimed) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  const CudaBackend device(deterministic(Precision::Fp16));
  for (const Trainable& trainable : {everything(), from_block(6)}) {
    const RunsEveryForm backend(device);
    Plan::build(training_graph(small_config(), Element::F16),
                batch_specs(kImages, kSide, Element::F32, true),
                {.phase = Phase::Train, .trainable = trainable}, backend);
    EXPECT_GT(backend.forms, 100);
  }
}

// Drawing every number of a large batch on the host took a minute for a training plan.
TEST(NodeTiming, LargeTensorsAreFilledWithFewNumbers) {
  const CpuBackend cpu(shared_pool());
  const CountsUploads counting(cpu);
  Node node;
  node.name = "pool";
  node.operation = GlobalAveragePool{};
  const Spec in{{4, 256, 256, 8}, Element::F32};
  const KernelQuery query{.in = {&in, 1}, .out = infer(node.operation, node.name, {&in, 1})};
  EXPECT_GT(time_node(counting, node, query).value(), 0);
  EXPECT_GT(counting.uploaded, 0);
  EXPECT_LT(counting.uploaded, in.bytes() / 8);
}

}  // namespace
}  // namespace dfengine::test
