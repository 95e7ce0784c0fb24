#include "layers/graph.h"

#include <algorithm>
#include <unordered_set>

#include "kernels/base/error.h"

namespace dfengine {

ValueId Graph::add_input(std::string name) {
  const auto id = static_cast<ValueId>(values_.size());
  values_.push_back({std::move(name), -1});
  inputs_.push_back(id);
  return id;
}

ValueId Graph::add(std::string name, Operation operation, std::vector<ValueId> inputs, int block) {
  for (ValueId v : inputs)
    if (v < 0 || v >= static_cast<ValueId>(values_.size()))
      throw UsageError("layer " + name + ": input value does not exist");
  if (inputs.size() > kMaxInputs) throw UsageError("layer " + name + ": too many inputs");
  const auto id = static_cast<ValueId>(values_.size());
  values_.push_back({name, static_cast<int>(nodes_.size())});
  nodes_.push_back({std::move(name), std::move(operation), std::move(inputs), id, block});
  return id;
}

void Graph::mark_output(ValueId value, std::string name) {
  if (value < 0 || value >= static_cast<ValueId>(values_.size()))
    throw UsageError("output " + name + ": value does not exist");
  outputs_.push_back({value, std::move(name)});
}

const Node* Graph::producer(ValueId value) const {
  const int node = values_[at(value)].producer;
  return node < 0 ? nullptr : &nodes_[at(node)];
}

const Node* Graph::reader(ValueId value) const {
  for (const Node& node : nodes_)
    if (std::ranges::find(node.inputs, value) != node.inputs.end()) return &node;
  return nullptr;
}

ValueId Graph::input(std::string_view name) const {
  for (ValueId v : inputs_)
    if (values_[at(v)].name == name) return v;
  throw UsageError("graph has no input '" + std::string(name) + "'");
}

ValueId Graph::output(std::string_view name) const {
  for (const Output& o : outputs_)
    if (o.name == name) return o.value;
  throw UsageError("graph has no output '" + std::string(name) + "'");
}

std::vector<int> Graph::reader_counts() const {
  std::vector<int> counts(values_.size(), 0);
  for (const Node& node : nodes_)
    for (ValueId v : node.inputs) ++counts[at(v)];
  for (const Output& o : outputs_) ++counts[at(o.value)];
  return counts;
}

std::vector<ParamSpec> Graph::params() const {
  std::vector<ParamSpec> all;
  std::unordered_set<std::string> seen;
  for (const Node& node : nodes_)
    for (ParamSpec& p : dfengine::params(node.operation, node.name))
      if (seen.insert(p.name).second) all.push_back(std::move(p));
  return all;
}

std::vector<Spec> Graph::infer(std::span<const Spec> of_inputs) const {
  if (of_inputs.size() != inputs_.size())
    throw ShapeError("graph: number of input shapes differs from its inputs");
  std::vector<Spec> specs(values_.size());
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    specs[static_cast<std::size_t>(inputs_[i])] = of_inputs[i];
  for (const Node& node : nodes_)
    specs[static_cast<std::size_t>(node.output)] =
        dfengine::infer(node.operation, node.name, input_specs(node, specs));
  return specs;
}

std::vector<Spec> input_specs(const Node& node, std::span<const Spec> specs) {
  std::vector<Spec> in;
  for (ValueId v : node.inputs) in.push_back(specs[at(v)]);
  return in;
}

}  // namespace dfengine
