#include "engine/model/norm_statistics.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "layers/networks/architectures.h"

namespace dfengine {
namespace {

// With a momentum of 1 the next running statistics are the batch's own.
Graph graph_of(const Model& model) {
  NetworkConfig config = model.config;
  config.bn_momentum = 1;
  config.dropout = 0;
  return with_loss(make_network(config).graph);
}

}  // namespace

int alike_blocks(std::span<const Model> models) {
  const Network& network = models.front().network;
  int alike = network.block_count();
  for (const Node& node : network.graph.nodes()) {
    if (node.block < 0) continue;
    for (const ParamSpec& p : params(node.operation, node.name)) {
      const auto values = [&](const Model& m) {
        return m.parameters.get(m.parameters.find(p.name));
      };
      const auto differs = [&](const Model& m) { return values(m) != values(models.front()); };
      if (std::ranges::any_of(models, differs)) alike = std::min(alike, node.block);
    }
  }
  return alike;
}

NormEstimator::NormEstimator(Model& model, const Backend& backend, Index batch, int kept)
    : model_(model),
      backend_(backend),
      batch_(batch),
      graph_(graph_of(model)),
      measured_(model.network.trainable_above(kept)),
      parameters_(graph_, model.parameters, backend, measured_),
      session_(graph_, {model.network.image, {{1, 1, 1, 1}, Element::F32}},
               {.phase = Phase::Train, .trainable = measured_}, parameters_),
      sums_(model.parameters.specs().size()) {
  if (!backend.computes_in_host_memory() || backend.element() != Element::F32)
    throw UsageError("batch norm statistics are measured on the CPU, in float");
  session_.reserve(batch);
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const ParamSpec& p = model.parameters.specs()[i];
    if (!is_learned(p.role) && measured_(p)) sums_[i].assign(at(p.count()), 0.0);
  }
}

void NormEstimator::add(const std::uint8_t* images) {
  const Binding& binding = *session_.bound(batch_).binding;
  backend_.upload(binding.input("images").address, images, batch_ * model_.network.image.bytes());
  const StepInput input;
  StepScalars scalars;
  binding.forward({backend_.queue(), &input, &scalars});
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    if (sums_[i].empty()) continue;
    const auto* next = parameters_.next(static_cast<int>(i)).as<float>();
    for (std::size_t k = 0; k < sums_[i].size(); ++k) sums_[i][k] += double{next[k]};
  }
  ++batches_;
}

void NormEstimator::finish() {
  if (batches_ == 0)
    throw DataError("batch norm statistics: fewer training pictures than one batch has");
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    if (sums_[i].empty()) continue;
    for (double& v : sums_[i]) v /= static_cast<double>(batches_);
    model_.parameters.set(static_cast<int>(i), std::span<const double>(sums_[i]));
  }
}

}  // namespace dfengine
