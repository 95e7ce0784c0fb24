// What the tests of plans share: a network's parameters, a bound executor, and a naive run that
// gives every value and gradient memory of its own: the oracle for everything the plan reuses.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/executor.h"
#include "layers/models/mobilenet_v2.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {

inline ThreadPool& shared_pool() {
  static ThreadPool threads(2);
  return threads;
}

inline std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

using Doubles = std::vector<double>;

inline Doubles read(const void* p, Index count, Element element) {
  Doubles out;
  with_element(element, [&](auto t) {
    const auto* from = static_cast<const decltype(t)*>(p);
    out.assign(from, from + count);
  });
  return out;
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
// As `--freeze K`.
inline Trainable from_block(int k) {
  return [k](const ParamSpec& p) {
    const int block = feature_block(p.name);
    return block < 0 || block >= k;
  };
}

// The bytes of each graph input, in the order of graph.inputs().
using Inputs = std::vector<std::vector<std::byte>>;

template <class T>
std::vector<std::byte> bytes_of_values(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Random pixels, floats in [-1, 1), and zeros and ones where an input is called targets.
inline Inputs random_inputs(const Graph& graph, const std::vector<Spec>& specs,
                            std::uint64_t seed = 9) {
  Inputs all;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const Index count = specs[i].shape.count();
    if (specs[i].element == Element::U8) {
      std::vector<std::uint8_t> pixels;
      for (double v : random_uniform<double>(count, seed + i, 0, 256))
        pixels.push_back(static_cast<std::uint8_t>(v));
      all.push_back(bytes_of_values(pixels));
      continue;
    }
    Doubles values = random_uniform<double>(count, seed + i);
    if (graph.values()[at(graph.inputs()[i])].name == "targets")
      for (double& v : values) v = v > 0 ? 1 : 0;
    with_element(specs[i].element,
                 [&](auto t) { all.push_back(bytes_of_values(converted<decltype(t)>(values))); });
  }
  return all;
}

// What a run leaves behind.
struct Results {
  std::map<std::string, Doubles> outputs, gradients;
  std::vector<std::byte> parameters;  // running statistics move
  bool operator==(const Results&) const = default;
};

inline const StepState kStepState{21, 4};

// A plan with everything it needs to run.
class Session {
 public:
  Session(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
          ParameterStore& parameters)
      : parameters_(parameters),
        plan_(Plan::build(graph, in, options)),
        arena_(plan_.arena_bytes()),
        gradients_(parameters.learned_count() * element_size(parameters.element())),
        executor_(plan_, parameters, gradients_.data(), arena_) {
    executor_.prepare();
  }

  const Plan& plan() const { return plan_; }
  Executor& executor() { return executor_; }
  // Every byte of the arena and of the gradients: 0xFF makes them NaN.
  void poison() {
    std::memset(arena_.data(), 0xFF, static_cast<std::size_t>(arena_.bytes()));
    std::memset(gradients_.data(), 0xFF, static_cast<std::size_t>(gradients_.bytes()));
  }
  void forward(const Inputs& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ValueId v = plan_.graph().inputs()[i];
      std::memcpy(executor_.input(plan_.graph().values()[at(v)].name), inputs[i].data(),
                  inputs[i].size());
    }
    executor_.forward({{shared_pool()}, &kStepState});
  }
  void backward() { executor_.backward({{shared_pool()}, &kStepState}); }

  Doubles output(const std::string& name) const {
    const Spec& s = plan_.specs()[at(plan_.graph().output(name))];
    return read(executor_.output(name), s.shape.count(), s.element);
  }
  // In memory's order, as ParameterStore::value().
  Doubles gradient(const std::string& name) const {
    const int i = parameters_.find(name);
    const Index size = element_size(parameters_.element());
    return read(gradients_.data() + parameters_.offset(i) * size,
                parameters_.specs()[at(i)].count(), parameters_.element());
  }
  const Memory& gradients() const { return gradients_; }

  Results run(const Inputs& inputs) {
    forward(inputs);
    backward();
    Results r;
    for (const Graph::Output& o : plan_.graph().outputs()) r.outputs[o.name] = output(o.name);
    for (const ParamSpec& p : plan_.trained()) r.gradients[p.name] = gradient(p.name);
    r.parameters.assign(parameters_.data(), parameters_.data() + parameters_.bytes());
    return r;
  }

 private:
  ParameterStore& parameters_;
  Plan plan_;
  Memory arena_;
  Memory gradients_;
  Executor executor_;
};

// Runs a graph's own nodes, none fused, nothing shared, each block of memory guarded at its end.
// Backward follows needs_gradient.
class NaiveRun {
 public:
  NaiveRun(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
           ParameterStore& parameters)
      : graph_(graph),
        phase_(options.phase),
        trainable_(options.trainable ? options.trainable : none()),
        specs_(graph.infer(in)),
        needs_(needs_gradient(graph, trainable_)),
        parameters_(parameters) {
    for (const Spec& s : specs_) {
      values_.push_back(block(s.bytes()));
      gradients_.push_back(block(s.bytes()));
    }
    for (const Node& n : graph.nodes()) {
      for (const ParamSpec& p : n.layer->params())
        dparams_[p.name] = block(p.count() * element_size(parameters.element()));
    }
  }

  Results run(const Inputs& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      std::ranges::copy(inputs[i], values_[at(graph_.inputs()[i])].begin());
    const int nodes = static_cast<int>(graph_.nodes().size());
    written_.assign(specs_.size(), false);
    saved_.clear();
    for (int i = 0; i < nodes; ++i) forward(i);
    for (int i = nodes - 1; i >= 0; --i)
      if (needs_[at(graph_.nodes()[at(i)].output)]) backward(i);
    return collect();
  }

  // On which side of its kinks each activation's output lies: constant where a difference is valid.
  std::vector<int> pattern() const {
    std::vector<int> sides;
    for (const Node& n : graph_.nodes()) {
      if (n.layer->kind().find("+relu") == std::string::npos &&
          n.layer->activation_only() == Activation::None)
        continue;
      for (double y : value(n.output)) sides.push_back(y <= 0 ? -1 : y >= 6 ? 1 : 0);
    }
    return sides;
  }

 private:
  using Block = std::vector<std::byte>;
  static constexpr std::size_t kGuard = 256;
  static Block block(Index bytes) {
    return Block(static_cast<std::size_t>(bytes) + kGuard, std::byte{255});
  }
  static void expect_intact(const Block& b, const std::string& what) {
    EXPECT_TRUE(
        std::all_of(b.end() - kGuard, b.end(), [](std::byte v) { return v == std::byte{255}; }))
        << what << " written behind its end";
  }

  Doubles value(ValueId v) const {
    return read(values_[at(v)].data(), specs_[at(v)].shape.count(), specs_[at(v)].element);
  }

  LayerIo io_of(const Node& n, std::vector<Spec>& in, std::vector<void*>& params) {
    for (ValueId v : n.inputs) in.push_back(specs_[at(v)]);
    for (const ParamSpec& p : n.layer->params())
      params.push_back(parameters_.value(parameters_.find(p.name)));
    LayerIo io;
    io.phase = phase_;
    io.in = in;
    io.out = specs_[at(n.output)];
    io.params = params;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) io.x[k] = values_[at(n.inputs[k])].data();
    io.y = values_[at(n.output)].data();
    return io;
  }

  void forward(int i) {
    const Node& n = graph_.nodes()[at(i)];
    std::vector<Spec> in;
    std::vector<void*> params;
    LayerIo io = io_of(n, in, params);
    const LayerPlan booked = n.layer->plan({phase_, needs_[at(n.output)], in, io.out});
    Block prepared = block(booked.prepared), scratch = block(booked.forward_scratch);
    saved_.push_back(block(booked.saved));
    io.saved = saved_.back().data();
    io.scratch = scratch.data();
    if (booked.prepared > 0) {
      n.layer->prepare(parameters_.element(), params, prepared.data());
      io.prepared = prepared.data();
    }
    n.layer->forward({{shared_pool()}, &kStepState}, io);
    expect_intact(prepared, n.layer->name() + ": prepared");
    expect_intact(scratch, n.layer->name() + ": forward scratch");
    expect_intact(saved_.back(), n.layer->name() + ": saved");
  }

  void backward(int i) {
    const Node& n = graph_.nodes()[at(i)];
    std::vector<Spec> in;
    std::vector<void*> params, dparams;
    LayerIo io = io_of(n, in, params);
    const LayerPlan booked = n.layer->plan({phase_, true, in, io.out});
    Block scratch = block(booked.backward_scratch);
    io.scratch = scratch.data();
    io.saved = saved_[at(i)].data();
    io.dy = gradients_[at(n.output)].data();
    for (const ParamSpec& p : n.layer->params())
      dparams.push_back(is_learned(p.role) && trainable_(p) ? dparams_[p.name].data() : nullptr);
    io.dparams = dparams;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      const ValueId v = n.inputs[k];
      if (!needs_[at(v)]) continue;
      io.dx[k] = gradients_[at(v)].data();
      io.dx_write[k] = written_[at(v)] ? Write::Accumulate : Write::Overwrite;
      written_[at(v)] = true;
    }
    n.layer->backward({{shared_pool()}, &kStepState}, io);
    expect_intact(scratch, n.layer->name() + ": backward scratch");
  }

  Results collect() const {
    for (std::size_t v = 0; v < values_.size(); ++v) {
      expect_intact(values_[v], graph_.values()[v].name + ": value");
      expect_intact(gradients_[v], graph_.values()[v].name + ": gradient");
    }
    for (const auto& [name, block] : dparams_) expect_intact(block, name + ": gradient");
    Results r;
    for (const Graph::Output& o : graph_.outputs()) r.outputs[o.name] = value(o.value);
    for (const Node& n : graph_.nodes())
      for (const ParamSpec& p : n.layer->params())
        if (is_learned(p.role) && trainable_(p))
          r.gradients[p.name] = read(dparams_.at(p.name).data(), p.count(), parameters_.element());
    r.parameters.assign(parameters_.data(), parameters_.data() + parameters_.bytes());
    return r;
  }

  const Graph& graph_;
  Phase phase_;
  Trainable trainable_;
  std::vector<Spec> specs_;
  std::vector<bool> needs_;
  ParameterStore& parameters_;
  std::vector<Block> values_, gradients_, saved_;
  std::map<std::string, Block> dparams_;
  std::vector<bool> written_;
};

// The specs of a MobileNetV2 batch, with targets for a training graph.
inline std::vector<Spec> batch_specs(Index n, Index side, Element element, bool training) {
  std::vector<Spec> in = {{{n, side, side, 3}, Element::U8}};
  if (training) in.push_back({{n, 1, 1, 1}, element});
  return in;
}

// Small enough for tests in double: width 0.1.
inline MobileNetV2Config tiny_config() {
  MobileNetV2Config config;
  config.width = 0.1;
  config.hidden = 8;
  return config;
}

}  // namespace dfengine::test
