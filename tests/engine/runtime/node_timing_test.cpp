// What timing a node costs beside its time.
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

// Drawing every number of a large batch on the host took a minute for a training plan.
TEST(NodeTiming, LargeTensorsAreFilledWithFewNumbers) {
  const CpuBackend cpu(shared_pool());
  const CountsUploads counting(cpu);
  Node node;
  node.name = "pool";
  node.operation = GlobalAveragePool{};
  const Spec in{{4, 256, 256, 8}, Element::F32};
  const KernelQuery query{.in = {&in, 1}, .out = infer(node.operation, node.name, {&in, 1})};
  EXPECT_GT(time_node(counting, node, query), 0);
  EXPECT_GT(counting.uploaded, 0);
  EXPECT_LT(counting.uploaded, in.bytes() / 8);
}

}  // namespace
}  // namespace dfengine::test
