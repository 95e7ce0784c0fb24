#include "engine/model/calibration.h"

#include "kernels/base/error.h"
#include "layers/quantize.h"

namespace dfengine {
namespace {

// An output named as the convolution is kept until the picture is done.
Graph observed(const Model& model) {
  require_float(model, "is quantized");
  if (model.config.members > 1)
    throw UsageError("an ensemble is not quantized: quantize one of its models, or their mean");
  Graph graph = folded(model.network.graph);
  for (const Node& node : std::vector(graph.nodes()))
    if (std::holds_alternative<Convolution>(node.operation))
      graph.mark_output(node.output, node.name);
  return graph;
}

}  // namespace

Calibration::Calibration(const Model& model, const Backend& backend)
    : model_(model),
      backend_(backend),
      graph_(observed(model)),
      parameters_(graph_, model.parameters, backend),
      session_(graph_, {model.network.image}, {}, parameters_) {
  if (!backend.computes_in_host_memory() || backend.element() != Element::F32)
    throw UsageError("quantization is calibrated on the CPU, in float");
  session_.reserve(1);
}

std::vector<const Node*> Calibration::convolutions() const {
  std::vector<const Node*> all;
  for (const Node& node : graph_.nodes())
    if (std::holds_alternative<Convolution>(node.operation)) all.push_back(&node);
  return all;
}

void Calibration::run(const std::uint8_t* images, Index n, const Visit& visit) {
  const Session::Bound& bound = session_.bound(1);
  const Plan& plan = bound.plan;
  const Index bytes = model_.network.image.bytes();
  const std::vector<const Node*> convolutions = this->convolutions();
  for (Index picture = 0; picture < n; ++picture) {
    backend_.upload(bound.binding->input("images").address, images + picture * bytes, bytes);
    bound.binding->forward({backend_.queue()});
    for (std::size_t i = 0; i < convolutions.size(); ++i) {
      const std::string& name = convolutions[i]->name;
      const Index count = plan.spec(plan.graph().output(name)).shape.count();
      visit(i, {bound.binding->output(name).as<float>(), at(count)});
    }
  }
}

}  // namespace dfengine
