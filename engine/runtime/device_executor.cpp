#include "engine/runtime/device_executor.h"

#include <vector>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Layers read working weights in the element of the network, which is that of its first values.
void check(const Plan& plan, Element device) {
  for (const Node& node : plan.graph().nodes()) {
    const auto element = [&](ValueId v) {
      return plan.specs()[static_cast<std::size_t>(v)].element;
    };
    if (element(node.inputs[0]) == Element::U8 && element(node.output) != device)
      throw Error("device executor: layer " + node.layer->name() +
                  " and the device's working weights differ in element type");
  }
}

// The driver does not know for which layer it was asked.
void queue(const DeviceContext& ctx, const BoundStep& step) try {
  if (step.kind == StepKind::Forward) {
    step.layer->device_forward(ctx, step.io);
  } else {
    step.layer->device_backward(ctx, step.io);
  }
} catch (const DeviceError& e) {
  std::string shapes;
  for (const Spec& in : step.io.in) shapes += to_string(in.shape) + " ";
  throw DeviceError("layer " + step.layer->name() + " (" + step.layer->kind() + "), " +
                    (step.kind == StepKind::Forward ? "forward, " : "backward, ") + shapes + "to " +
                    to_string(step.io.out.shape) + ": " + e.what());
}

}  // namespace

DeviceExecutor::DeviceExecutor(const Plan& plan, const ParameterStore& store,
                               const DeviceParameters& parameters, void* arena)
    : plan_((check(plan, parameters.element()), plan)),
      prepared_(cuda::allocate_device(plan.prepared_bytes())),
      binding_(plan, store, parameters.places(), static_cast<std::byte*>(arena),
               static_cast<std::byte*>(prepared_.get())) {}

void DeviceExecutor::prepare(const ParameterStore& store, const Device& device) {
  if (plan_.prepared_bytes() == 0) return;
  // 16-byte aligned, as vectors of bytes are.
  std::vector<std::byte> staging(static_cast<std::size_t>(plan_.prepared_bytes()));
  for (int i = 0; i < plan_.forward_steps(); ++i) {
    if (plan_.layer_plan(i).prepared == 0) continue;
    const Layer& layer = *plan_.graph().nodes()[static_cast<std::size_t>(i)].layer;
    std::vector<void*> params;
    for (const ParamSpec& p : layer.params()) {
      const int index = store.find(p.name);
      if (index < 0) throw Error("executor: no parameter " + p.name);
      // Layers read these; the interface has one pointer type for reading and writing.
      params.push_back(const_cast<void*>(store.value(index)));
    }
    layer.device_prepare(device.element(), params, staging.data() + plan_.prepared_offset(i));
  }
  cuda::upload(device.compute(), prepared_.get(), staging.data(), plan_.prepared_bytes());
  cuda::synchronize(device.compute());
}

void DeviceExecutor::run(const DeviceContext& ctx, int first, int last,
                         const StepWatch& watch) const {
  for (int i = first; i < last; ++i) {
    const BoundStep& step = binding_.steps()[static_cast<std::size_t>(i)];
    queue(ctx, step);
    if (watch) watch(step);
  }
}

}  // namespace dfengine
