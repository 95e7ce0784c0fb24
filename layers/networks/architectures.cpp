#include "layers/networks/architectures.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "layers/networks/mobilenet_v2.h"

namespace dfengine {
namespace {

constexpr Architecture kArchitectures[] = {{.name = "mobilenet_v2",
                                            .title = "MobileNetV2",
                                            .add_base = add_mobilenet_v2_base,
                                            .deciding_channels = mobilenet_v2_channels,
                                            .stages = kMobileNetV2Stages}};

ValueId add_head(Graph& graph, const NetworkConfig& config, ValueId pooled, Index features) {
  if (config.head == Head::Classifier)
    return graph.add("classifier.1", Dense{.in = features, .out = config.classes}, {pooled});
  ValueId x = graph.add("head.fc1",
                        Dense{.in = features, .out = config.hidden, .activation = Activation::Relu},
                        {pooled});
  if (config.dropout > 0) x = graph.add("head.dropout", Dropout{config.dropout}, {x});
  return graph.add("head.fc2", Dense{.in = config.hidden, .out = 1}, {x});
}

}  // namespace

std::span<const Architecture> architectures() {
  return kArchitectures;
}

const Architecture& architecture(std::string_view name, std::span<const Architecture> table) {
  const auto found = std::ranges::find(table, name, &Architecture::name);
  if (found != table.end()) return *found;
  std::string known;
  for (const Architecture& a : table) known += " " + std::string(a.name);
  throw UsageError("architecture '" + std::string(name) + "' is unknown; known:" + known);
}

namespace {

// Appends a member's nodes, which read the ensemble's images; returns its logits.
ValueId append_member(Network& to, const Network& member, const std::string& prefix) {
  std::vector<ValueId> moved(member.graph.values().size());
  moved[at(member.graph.input("images"))] = to.graph.input("images");
  for (const Node& node : member.graph.nodes()) {
    std::vector<ValueId> inputs;
    for (ValueId v : node.inputs) inputs.push_back(moved[at(v)]);
    const int block = node.block < 0 ? node.block : node.block + to.block_count();
    moved[at(node.output)] =
        to.graph.add(prefix + node.name, node.operation, std::move(inputs), block);
  }
  for (const std::string& block : member.blocks) to.blocks.push_back(prefix + block);
  return moved[at(member.graph.output("logits"))];
}

Network make_ensemble(const NetworkConfig& config, std::span<const Architecture> table) {
  NetworkConfig one = config;
  one.members = 1;
  const Network member = make_network(one, table);
  Network all{.title = fmt::format("ensemble of {} {}", config.members, member.title),
              .graph = {},
              .blocks = {},
              .image = member.image,
              .features = member.features,
              .head = member.head};
  all.graph.add_input("images");
  ValueId sum = append_member(all, member, "0.");
  for (Index i = 1; i < config.members; ++i) {
    const ValueId logits = append_member(all, member, fmt::format("{}.", i));
    sum = all.graph.add(fmt::format("sum.{}", i), Add{}, {logits, sum});
  }
  all.graph.mark_output(sum, "logits");
  return all;
}

}  // namespace

Network make_network(const NetworkConfig& config, std::span<const Architecture> table) {
  if (config.members > 1) return make_ensemble(config, table);
  const Architecture& of = architecture(config.architecture, table);
  Network network;
  network.title = of.title;
  network.image = {{1, config.input_size, config.input_size, 3}, Element::U8};
  network.head = config.head;
  Graph& graph = network.graph;
  const ValueId images = graph.add_input("images");
  const ValueId pooled = of.add_base(graph, config, images, network.blocks);
  graph.mark_output(pooled, "pooled");
  network.features = graph.infer(std::span(&network.image, 1))[at(pooled)].shape.c;
  if (config.head != Head::None)
    graph.mark_output(add_head(graph, config, pooled, network.features), "logits");
  if (!config.quantization.empty()) graph = quantized(graph, config.quantization);
  return network;
}

}  // namespace dfengine
