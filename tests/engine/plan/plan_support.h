// What the tests of plans share: networks, their parameters and inputs, and a plan with all that it
// needs to run.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/binding.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "layers/networks/architectures.h"
#include "tests/support/backend_block.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {

inline ThreadPool& shared_pool() {
  static ThreadPool threads(2);
  return threads;
}

// The CPU in float, and in double as the oracle.
inline const Backend& cpu_backend(Element element = Element::F32) {
  static const CpuBackend single(shared_pool()), oracle(shared_pool(), Element::F64);
  return element == Element::F64 ? oracle : single;
}

// ---- Networks -----------------------------------------------------------------------------------

// Small enough for tests in double: width 0.1.
inline NetworkConfig tiny_config() {
  NetworkConfig config;
  config.width = 0.1;
  config.hidden = 8;
  return config;
}

inline Graph network_graph(const NetworkConfig& config, Element element = Element::F32) {
  return with_element(make_network(config).graph, element);
}
// With its loss.
inline Graph training_graph(const NetworkConfig& config, Element element = Element::F32) {
  return with_element(with_loss(make_network(config).graph), element);
}

// Values near a trained network's, the same whatever the element type.
inline std::unique_ptr<ParameterStore> trained_like(const Graph& graph, Element element,
                                                    std::uint64_t seed = 5) {
  auto store = std::make_unique<ParameterStore>(graph.params(), element, seed);
  for (std::size_t i = 0; i < store->specs().size(); ++i) {
    const ParamSpec& p = store->specs()[i];
    std::vector<float> values = random_uniform<float>(p.count(), seed + 100 + i);
    const double weight =
        p.init.he_fan > 0
            ? std::sqrt(6.0 * static_cast<double>(p.file_shape[0]) / static_cast<double>(p.count()))
            : 0.0;
    for (float& v : values) {
      if (p.role == Role::Weight) v *= static_cast<float>(weight);
      if (p.role == Role::NormScale) v = 1 + v / 4;
      if (p.role == Role::RunningVar) v = 1 + v / 2;
      if (p.role == Role::NormShift || p.role == Role::RunningMean || p.role == Role::Bias) v /= 4;
    }
    store->set(static_cast<int>(i), std::span<const float>(values));
  }
  return store;
}

inline Trainable none() {
  return [](const ParamSpec&) { return false; };
}
inline Trainable everything() {
  return [](const ParamSpec&) { return true; };
}
// As `--freeze K`; names do not depend on the configuration.
inline Trainable from_block(int k) {
  return make_network({}).trainable_above(k);
}
inline int block_count() {
  return make_network({}).block_count();
}

// The bytes of each graph input, in the order of graph.inputs().
using Inputs = std::vector<Bytes>;

// Random pixels, floats in [-1, 1), and zeros and ones where an input is called targets.
inline Inputs random_inputs(const Graph& graph, const std::vector<Spec>& specs,
                            std::uint64_t seed = 9) {
  Inputs all;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const bool pixels = specs[i].element == Element::U8;
    Doubles values =
        random_uniform<double>(specs[i].shape.count(), seed + i, pixels ? 0 : -1, pixels ? 256 : 1);
    if (graph.values()[at(graph.inputs()[i])].name == "targets")
      for (double& v : values) v = v > 0 ? 1 : 0;
    all.push_back(stored_bytes(specs[i].element, values));
  }
  return all;
}

// The specs of a MobileNetV2 batch, with targets for a training graph.
inline std::vector<Spec> batch_specs(Index n, Index side, Element element, bool training) {
  std::vector<Spec> in = {{{n, side, side, 3}, Element::U8}};
  if (training) in.push_back({{n, 1, 1, 1}, element});
  return in;
}

// ---- Runs ---------------------------------------------------------------------------------------

// What a run leaves behind. Statistics: the next values of the running ones that move.
struct Results {
  std::map<std::string, Doubles> outputs, gradients, statistics;
  bool operator==(const Results&) const = default;
};

inline const StepInput kStepInput{.seed = 21, .step = 4};

// Gradients in 16 bits need a loss scale. Tests have few rows, whose gradients are large: at 16 one
// compiler's rounding overflows, at 64 another's, at 1,024 a third one's.
constexpr float kLossScale = 2;
inline StepMemory step_memory(const Backend& backend) {
  return {
      backend, kStepInput, {.loss_scale = backend.element() == Element::F16 ? kLossScale : 1.0f}};
}

// Of a node's parameters in host memory.
inline std::vector<ConstPlace> host_values(const Node& node, const ParameterStore& store) {
  std::vector<ConstPlace> values;
  for (const ParamSpec& p : params(node.operation, node.name))
    values.push_back({store.value(store.find(p.name))});
  return values;
}

inline void add_statistics(const ParameterStore& store, const ParameterBlock& parameters,
                           const Backend& backend, Results& results) {
  for (int i = 0; i < std::ssize(store.specs()); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (const Place next = parameters.next(i))
      results.statistics[p.name] = fetch(backend, next, {{p.count()}, backend.parameter_element()});
  }
}

// A plan with everything it needs to run. The graph's activations become the backend's element.
class PlanRun {
 public:
  PlanRun(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
          const ParameterStore& store)
      : PlanRun(graph, in, options, store, cpu_backend(store.element())) {}
  PlanRun(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
          const ParameterStore& store, const Backend& backend)
      : store_(store),
        backend_(backend),
        plan_(Plan::build(with_element(graph, backend.element()), in, options, backend)),
        parameters_(plan_.graph(), store, backend, options.trainable),
        arena_(backend, plan_.arena_bytes()),
        prepared_(backend, plan_.prepared_bytes()),
        step_(step_memory(backend)),
        binding_(plan_, parameters_, arena_.place().as<std::byte>(),
                 prepared_.place().as<std::byte>()) {
    arena_.fill(std::byte{0});
    refresh();
  }

  const Plan& plan() const { return plan_; }
  const Binding& binding() const { return binding_; }
  const ParameterBlock& parameters() const { return parameters_; }

  // Takes the store's values, after they changed.
  void refresh() {
    parameters_.upload();
    Bytes all(at(plan_.prepared_bytes()), std::byte{0xFF});
    for (int i = 0; i < plan_.forward_steps(); ++i) {
      const Bytes one = prepared_bytes(plan_.kernel(i), host_values(plan_.node(i), store_));
      std::ranges::copy(one, all.begin() + plan_.prepared_offset(i));
    }
    prepared_.write(all);
  }
  // Every byte of the arena and of the gradients becomes NaN.
  void poison() {
    arena_.fill(std::byte{0xFF});
    if (const Place gradients = parameters_.gradients())
      put(backend_, gradients,
          Bytes(at(parameters_.gradient_count() * element_size(backend_.parameter_element())),
                std::byte{0xFF}));
  }

  void forward(const Inputs& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ValueId v = plan_.graph().inputs()[i];
      put(backend_, binding_.input(plan_.graph().values()[at(v)].name), inputs[i]);
    }
    binding_.forward(step_.context());
  }
  void backward() { binding_.backward(step_.context()); }
  // Of the output that a plan for gradients of outputs begins at.
  void set_gradient(const std::string& seed, const Doubles& values) {
    const ValueId v = plan_.graph().output(seed);
    put(backend_, binding_.gradient(seed), stored_bytes(plan_.gradient_spec(v).element, values));
  }

  Doubles output(const std::string& name) const {
    return fetch(backend_, binding_.output(name), plan_.spec(plan_.graph().output(name)));
  }
  Doubles output_gradient(const std::string& name) const {
    const ValueId v = plan_.graph().output(name);
    return fetch(backend_, binding_.gradient(name), plan_.gradient_spec(v));
  }
  // In memory's order, as ParameterStore::value().
  Doubles gradient(const std::string& name) const {
    const int i = store_.find(name);
    return fetch(backend_, parameters_.gradient(i),
                 {{store_.specs()[at(i)].count()}, backend_.parameter_element()});
  }

  Results run(const Inputs& inputs) {
    forward(inputs);
    backward();
    arena_.bytes();  // its strips are intact
    Results r;
    for (const Graph::Output& o : plan_.graph().outputs()) r.outputs[o.name] = output(o.name);
    for (const ParamSpec& p : plan_.trained()) r.gradients[p.name] = gradient(p.name);
    add_statistics(store_, parameters_, backend_, r);
    return r;
  }

 private:
  const ParameterStore& store_;
  const Backend& backend_;
  Plan plan_;
  ParameterBlock parameters_;
  BackendBlock arena_, prepared_;
  StepMemory step_;
  Binding binding_;
};

}  // namespace dfengine::test
