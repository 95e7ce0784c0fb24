// A network as a list of nodes in the order they run. Values are numbered; each is a graph input or
// the output of one node. The graph knows no batch size: shapes come when a plan is built.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "layers/operation.h"

namespace dfengine {

using ValueId = int;

struct Node {
  std::string name;
  Operation operation;
  std::vector<ValueId> inputs;
  ValueId output = -1;
  int block = -1;  // of the network, counted from 0; -1: of its head
};

struct GraphValue {
  std::string name;   // of the node that makes it, or of the input
  int producer = -1;  // node, or -1 for a graph input
};

class Graph {
 public:
  ValueId add_input(std::string name);
  // Appends a node; its inputs must exist, else UsageError. Returns its output.
  ValueId add(std::string name, Operation operation, std::vector<ValueId> inputs, int block = -1);
  // Keeps a value readable after a run under this name.
  void mark_output(ValueId value, std::string name);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<GraphValue>& values() const { return values_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  struct Output {
    ValueId value;
    std::string name;
  };
  const std::vector<Output>& outputs() const { return outputs_; }
  // The node that makes a value; null for a graph input.
  const Node* producer(ValueId value) const;
  // The first node that reads a value; null where none does.
  const Node* reader(ValueId value) const;
  // The input or output of this name; throws UsageError if there is none.
  ValueId input(std::string_view name) const;
  ValueId output(std::string_view name) const;
  // Where the node that makes a value, which is no graph input, stands among the nodes.
  std::size_t position(ValueId value) const { return at(values_[at(value)].producer); }
  // How many nodes and outputs read each value.
  std::vector<int> reader_counts() const;
  // Every parameter once, in node order.
  std::vector<ParamSpec> params() const;
  // Specs of all values for these of the inputs (in the order of inputs()).
  std::vector<Spec> infer(std::span<const Spec> of_inputs) const;

 private:
  std::vector<Node> nodes_;
  std::vector<GraphValue> values_;
  std::vector<ValueId> inputs_;
  std::vector<Output> outputs_;
};

// Of what the node reads. specs: of all values.
std::vector<Spec> input_specs(const Node& node, std::span<const Spec> specs);

}  // namespace dfengine
