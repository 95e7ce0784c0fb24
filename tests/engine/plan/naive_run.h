// A run that gives every value and gradient memory of its own: the oracle for everything that a
// plan reuses.
#pragma once

#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {

// Runs a graph's own nodes, none fused, nothing shared, each block of memory guarded at both ends.
// Backward follows needs_gradient. Takes the store's values with every run.
class NaiveRun {
 public:
  NaiveRun(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
           const ParameterStore& store)
      : NaiveRun(graph, in, options, store, cpu_backend(store.element())) {}
  NaiveRun(const Graph& graph, const std::vector<Spec>& in, const PlanOptions& options,
           const ParameterStore& store, const Backend& backend)
      : graph_(with_element(graph, backend.element())),
        phase_(options.phase),
        trainable_(options.trainable ? options.trainable : none()),
        store_(store),
        backend_(backend),
        specs_(graph_.infer(in)),
        needs_(needs_gradient(graph_, trainable_)),
        parameters_(graph_, store, backend, options.trainable),
        step_(step_memory(backend)) {
    for (std::size_t v = 0; v < specs_.size(); ++v) {
      values_.emplace_back(backend, specs_[v].bytes());
      gradients_.emplace_back(backend, gradient_of(static_cast<ValueId>(v)).bytes());
    }
    for (const Node& n : graph_.nodes()) {
      kernels_.push_back(
          backend.make(n, {phase_, needs_[at(n.output)], inputs_of(n), specs_[at(n.output)]}));
      for (const ParamSpec& p : params(n.operation, n.name))
        dparams_.try_emplace(p.name, backend,
                             p.count() * element_size(backend.parameter_element()));
    }
  }

  Results run(const Inputs& inputs) {
    parameters_.upload();
    for (std::size_t i = 0; i < inputs.size(); ++i)
      values_[at(graph_.inputs()[i])].write(inputs[i]);
    written_.assign(specs_.size(), false);
    saved_.clear();
    const auto& nodes = graph_.nodes();
    for (std::size_t i = 0; i < nodes.size(); ++i) forward(nodes[i], kernels_[i]);
    for (std::size_t i = nodes.size(); i-- > 0;)
      if (needs_[at(nodes[i].output)]) backward(nodes[i], kernels_[i], saved_[i]);
    return collect();
  }

  // On which side of its kinks each activation's output lies: constant where a difference is valid.
  std::vector<int> pattern() const {
    std::vector<int> sides;
    for (const Node& n : graph_.nodes()) {
      const bool has_kinks = std::visit(
          [](const auto& op) {
            if constexpr (requires { op.activation; }) return op.activation != Activation::None;
            return false;
          },
          n.operation);
      if (!has_kinks) continue;
      for (double y : value(n.output)) sides.push_back(y <= 0 ? -1 : y >= 6 ? 1 : 0);
    }
    return sides;
  }

 private:
  std::vector<Spec> inputs_of(const Node& n) const {
    std::vector<Spec> in;
    for (ValueId v : n.inputs) in.push_back(specs_[at(v)]);
    return in;
  }
  Spec gradient_of(ValueId v) const {
    const Node* maker = graph_.producer(v);
    return maker == nullptr ? specs_[at(v)]
                            : gradient_spec(maker->operation, inputs_of(*maker), specs_[at(v)]);
  }
  Doubles value(ValueId v) const { return values_[at(v)].values(specs_[at(v)].element); }

  void forward(const Node& n, const Kernel& kernel) {
    BackendBlock prepared(backend_, kernel.needs.prepared);
    BackendBlock scratch(backend_, kernel.needs.forward_scratch);
    saved_.emplace_back(backend_, kernel.needs.saved);
    prepared.write(prepared_bytes(kernel, host_values(n, store_)));
    ForwardIo io;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) io.x[k] = values_[at(n.inputs[k])].place();
    io.y = values_[at(n.output)].place();
    io.saved = saved_.back().place();
    io.scratch = scratch.place();
    io.prepared = prepared.place();
    std::vector<ConstPlace> values, working;
    std::vector<Place> next;
    for (const ParamSpec& p : params(n.operation, n.name)) {
      const int i = store_.find(p.name);
      values.push_back(parameters_.value(i));
      working.push_back(parameters_.working(i));
      next.push_back(parameters_.next(i));
    }
    io.params = values;
    io.working = working;
    io.next = next;
    kernel.forward(step_.context(), io);
    expect_intact(n, {&prepared, &scratch, &saved_.back()});
  }

  void backward(const Node& n, const Kernel& kernel, const BackendBlock& saved) {
    BackendBlock scratch(backend_, kernel.needs.backward_scratch);
    BackwardIo io;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) io.x[k] = values_[at(n.inputs[k])].place();
    io.y = values_[at(n.output)].place();
    io.dy = gradients_[at(n.output)].place();
    io.saved = saved.place();
    io.scratch = scratch.place();
    std::vector<ConstPlace> values, working;
    std::vector<Place> dparams;
    for (const ParamSpec& p : params(n.operation, n.name)) {
      const int i = store_.find(p.name);
      values.push_back(parameters_.value(i));
      working.push_back(parameters_.working(i));
      dparams.push_back(trains(p) ? dparams_.at(p.name).place() : Place{});
    }
    io.params = values;
    io.working = working;
    io.dparams = dparams;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      const ValueId v = n.inputs[k];
      if (!needs_[at(v)] || !passes_gradient(n.operation, k)) continue;
      io.dx[k] = gradients_[at(v)].place();
      io.dx_write[k] = written_[at(v)] ? Write::Accumulate : Write::Overwrite;
      written_[at(v)] = true;
    }
    kernel.backward(step_.context(), io);
    expect_intact(n, {&scratch, &saved});
  }

  bool trains(const ParamSpec& p) const { return is_learned(p.role) && trainable_(p); }

  static void expect_intact(const Node& n, std::initializer_list<const BackendBlock*> blocks) {
    SCOPED_TRACE(n.name);
    for (const BackendBlock* b : blocks) b->bytes();
  }

  Results collect() const {
    for (std::size_t v = 0; v < values_.size(); ++v) {
      SCOPED_TRACE(graph_.values()[v].name);
      values_[v].bytes();
      gradients_[v].bytes();
    }
    Results r;
    for (const Graph::Output& o : graph_.outputs()) r.outputs[o.name] = value(o.value);
    for (const auto& [name, block] : dparams_) {
      SCOPED_TRACE(name);
      Doubles gradient = block.values(backend_.parameter_element());
      if (trains(store_.specs()[at(store_.find(name))])) r.gradients[name] = std::move(gradient);
    }
    add_statistics(store_, parameters_, backend_, r);
    return r;
  }

  Graph graph_;
  Phase phase_;
  Trainable trainable_;
  const ParameterStore& store_;
  const Backend& backend_;
  std::vector<Spec> specs_;
  std::vector<bool> needs_;
  ParameterBlock parameters_;
  StepMemory step_;
  std::vector<Kernel> kernels_;
  std::vector<BackendBlock> values_, gradients_, saved_;
  std::map<std::string, BackendBlock> dparams_;
  std::vector<bool> written_;
};

}  // namespace dfengine::test
