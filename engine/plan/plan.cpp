#include "engine/plan/plan.h"

#include <algorithm>

#include "engine/plan/memory_planner.h"
#include "engine/plan/planned_graph.h"
#include "kernels/base/error.h"

namespace dfengine {

// Lays the steps out in three sweeps: kernels with their needs, steps with their buffers, memory.
class PlanBuilder {
 public:
  PlanBuilder(Plan& plan, const PlanOptions& options, const KernelMaker& maker)
      : plan_(plan), options_(options), maker_(maker) {}

  void build(std::span<const Spec> input_specs) {
    plan_.specs_ = plan_.graph_.infer(input_specs);
    find_needs();
    make_kernels();
    if (options_.grad_checkpoint) find_dropped();
    last_forward_use();
    add_inputs();
    const auto nodes = static_cast<int>(plan_.graph_.nodes().size());
    for (int i = 0; i < nodes; ++i) add_forward(i);
    seed_gradient();
    for (int i = nodes - 1; i >= 0; --i)
      if (plan_.backward_[at(i)]) add_backward(i);
    keep_outputs();
    place();
  }

 private:
  const Node& node(int i) const { return plan_.node(i); }
  bool trains(const ParamSpec& p) const {
    return options_.phase == Phase::Train && is_learned(p.role) && options_.trainable(p);
  }

  void find_needs() {
    const Trainable trainable = [this](const ParamSpec& p) { return trains(p); };
    const std::vector<ValueId> wanted = values_of(plan_.graph_, options_.gradients_of);
    needs_ = needs_gradient(plan_.graph_, trainable, wanted);
    dropped_.assign(plan_.graph_.values().size(), false);
    for (const Node& n : plan_.graph_.nodes()) {
      // The node that makes a wanted value gives no gradient further down.
      const bool below = std::ranges::find(wanted, n.output) != wanted.end();
      plan_.backward_.push_back(needs_[at(n.output)] && !below);
    }
  }

  // Batch norms come last: what they are given is as large as their neighbours' kernels make it.
  void make_kernels() {
    const std::vector<Node>& nodes = plan_.graph_.nodes();
    plan_.kernels_.resize(nodes.size());
    for (const bool norms : {false, true})
      for (std::size_t i = 0; i < nodes.size(); ++i)
        if (std::holds_alternative<BatchNorm>(nodes[i].operation) == norms) make_kernel(i);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      plan_.prepared_.push_back(plan_.prepared_bytes_);
      plan_.prepared_bytes_ += round_up(plan_.kernels_[i].needs.prepared, kArenaAlignment);
      for (const ParamSpec& p : params(nodes[i].operation, nodes[i].name))
        if (plan_.backward_[i] && trains(p)) add_trained(p);
    }
  }

  void make_kernel(std::size_t i) {
    const Node& n = plan_.graph_.nodes()[i];
    const std::vector<Spec> in = input_specs(n, plan_.specs());
    const KernelQuery query{.phase = plan_.phase_,
                            .backward = plan_.backward_[i],
                            .in = in,
                            .out = plan_.spec(n.output),
                            .sliced = options_.sliced,
                            .moments = plan_.moments_given(n),
                            .gradient_sums = plan_.gradient_sums_given(n)};
    plan_.kernels_[i] = maker_.make(n, query);
    if (query.backward && !plan_.kernels_[i].backward)
      throw UsageError("layer " + n.name + " (" + kind(n.operation) + ") has no gradient");
  }

  // Values that are made again for backward: those behind an activation, and the results of
  // convolutions before it. Their makers read what backward has at hand then in any case.
  void find_dropped() {
    const auto drop = [&](ValueId v) {
      const int maker = plan_.graph_.values()[at(v)].producer;
      const bool is_output = std::ranges::any_of(
          plan_.graph_.outputs(), [&](const Graph::Output& o) { return o.value == v; });
      if (maker == kNone || is_output || !plan_.backward_[at(maker)]) return;
      const Kernel& kernel = plan_.kernels_[at(maker)];
      dropped_[at(v)] = kernel.again || kernel.needs.saved == 0;
    };
    for (const Node& n : plan_.graph_.nodes()) {
      const auto* norm = std::get_if<BatchNorm>(&n.operation);
      if (norm == nullptr || norm->activation == Activation::None) continue;
      drop(n.inputs[0]);
      if (norm->output == NormOutput::Values) drop(n.output);
    }
  }

  void add_trained(const ParamSpec& p) {
    if (std::ranges::any_of(plan_.trained_, [&](const ParamSpec& q) { return q.name == p.name; }))
      throw UsageError("parameter " + p.name + ": used by two layers, which cannot be trained");
    plan_.trained_.push_back(p);
  }

  // The last step that reads each value, so that a kernel may overwrite it there.
  void last_forward_use() {
    last_read_.assign(plan_.graph_.values().size(), kNone);
    const auto& nodes = plan_.graph_.nodes();
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (ValueId v : nodes[i].inputs) last_read_[at(v)] = static_cast<int>(i);
    }
    const int never = static_cast<int>(2 * nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!plan_.backward_[i]) continue;
      const Needs& needs = plan_.kernels_[i].needs;
      if (needs.backward_needs_input)
        for (ValueId v : nodes[i].inputs) last_read_[at(v)] = never;
      if (needs.backward_needs_output) last_read_[at(nodes[i].output)] = never;
    }
    for (const Graph::Output& o : plan_.graph_.outputs()) last_read_[at(o.value)] = never;
  }

  int add_buffer(BufferKind kind, std::string name, Index bytes, int step) {
    plan_.buffers_.push_back({kind, std::move(name), bytes, step, step, 0});
    return static_cast<int>(plan_.buffers_.size()) - 1;
  }

  void touch(int buffer, int step) {
    if (buffer == kNone) return;
    Buffer& b = plan_.buffers_[at(buffer)];
    b.last = std::max(b.last, step);
  }

  void add_inputs() {
    plan_.value_buffers_.assign(plan_.graph_.values().size(), kNone);
    plan_.gradient_buffers_.assign(plan_.graph_.values().size(), kNone);
    for (auto* handed : {&moments_, &gradient_sums_, &gradient_factors_})
      handed->assign(plan_.graph_.values().size(), kNone);
    for (ValueId v : plan_.graph_.inputs())
      plan_.value_buffers_[at(v)] = add_buffer(BufferKind::Value, plan_.graph_.values()[at(v)].name,
                                               plan_.spec(v).bytes(), 0);
  }

  void add_forward(int i) {
    const Node& n = node(i);
    const Needs& needs = plan_.kernels_[at(i)].needs;
    const int now = static_cast<int>(plan_.steps_.size());
    Step step{StepKind::Forward, i};
    add_reads(step, n, now);
    if (needs.saved > 0) step.saved = add_buffer(BufferKind::Saved, n.name, needs.saved, now);
    step.y = forward_target(n, needs, i, now);
    plan_.value_buffers_[at(n.output)] = step.y;
    if (needs.forward_scratch > 0)
      step.scratch = add_buffer(BufferKind::Scratch, n.name, needs.forward_scratch, now);
    if (needs.moments > 0)
      step.moments = moments_[at(n.output)] =
          add_buffer(BufferKind::Scratch, n.name, needs.moments, now);
    if (plan_.moments_given(n) > 0) step.moments = moments_[at(n.inputs[0])];
    touch(step.moments, now);
    plan_.steps_.push_back(step);
    saved_.push_back(step.saved);
  }

  // Steps that make a value again, unless it was kept or they stand already.
  void bring_back(ValueId v) {
    if (!dropped_[at(v)]) return;
    dropped_[at(v)] = false;
    const int maker = plan_.graph_.values()[at(v)].producer;
    const Node& n = node(maker);
    const Needs& needs = plan_.kernels_[at(maker)].needs;
    for (ValueId input : n.inputs) bring_back(input);
    const int now = static_cast<int>(plan_.steps_.size());
    Step step{StepKind::Again, maker};
    add_reads(step, n, now);
    step.saved = saved_[at(maker)];
    touch(step.saved, now);
    step.y = add_buffer(BufferKind::Value, n.name, plan_.spec(v).bytes(), now);
    plan_.value_buffers_[at(v)] = step.y;
    if (needs.forward_scratch > 0)
      step.scratch = add_buffer(BufferKind::Scratch, n.name, needs.forward_scratch, now);
    if (needs.moments > 0)
      step.moments = add_buffer(BufferKind::Scratch, n.name, needs.moments, now);
    plan_.steps_.push_back(step);
  }

  void add_reads(Step& step, const Node& n, int now) {
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      step.x[k] = plan_.value_buffers_[at(n.inputs[k])];
      touch(step.x[k], now);
    }
  }

  // The output's buffer: the overwritten input's where the kernel allows it and nobody reads that
  // input again, else a new one.
  int forward_target(const Node& n, const Needs& needs, int i, int now) {
    const Spec& out = plan_.spec(n.output);
    if (needs.overwrites_input >= 0) {
      const ValueId v = n.inputs[at(needs.overwrites_input)];
      const bool is_input = plan_.graph_.producer(v) == nullptr;
      // A kernel that reads the value twice may read it elsewhere than where it writes.
      const bool read_once = std::ranges::count(n.inputs, v) == 1;
      if (last_read_[at(v)] == i && read_once && !is_input &&
          plan_.spec(v).bytes() == out.bytes()) {
        const int buffer = plan_.value_buffers_[at(v)];
        touch(buffer, now);
        return buffer;
      }
    }
    return add_buffer(BufferKind::Value, n.name, out.bytes(), now);
  }

  // The caller writes it before the first step, and nothing may lie there until it is read.
  void seed_gradient() {
    if (options_.seed.empty()) return;
    const ValueId v = plan_.graph_.output(options_.seed);
    plan_.gradient_buffers_[at(v)] =
        add_buffer(BufferKind::Gradient, options_.seed, plan_.spec(v).bytes(), 0);
  }

  void add_backward(int i) {
    const Node& n = node(i);
    const Needs& needs = plan_.kernels_[at(i)].needs;
    if (needs.backward_needs_input)
      for (ValueId v : n.inputs) bring_back(v);
    if (needs.backward_needs_output) bring_back(n.output);
    const int now = static_cast<int>(plan_.steps_.size());
    Step step{StepKind::Backward, i};
    step.dy = plan_.gradient_buffers_[at(n.output)];  // none for the loss: its seed is 1
    if (step.dy == kNone && !needs.starts_backward)
      throw UsageError("layer " + n.name + ": trainable, but no loss depends on it");
    touch(step.dy, now);
    if (needs.backward_needs_input) add_reads(step, n, now);
    if (needs.backward_needs_output) {
      step.y = plan_.value_buffers_[at(n.output)];
      touch(step.y, now);
    }
    step.saved = saved_[at(i)];
    touch(step.saved, now);
    for (std::size_t k = 0; k < n.inputs.size(); ++k)
      if (needs_[at(n.inputs[k])] && passes_gradient(n.operation, k))
        add_input_gradient(step, n, needs, k, now);
    if (needs.backward_scratch > 0)
      step.scratch = add_buffer(BufferKind::Scratch, n.name, needs.backward_scratch, now);
    hand_on_gradient(step, n, needs, now);
    plan_.steps_.push_back(step);
  }

  // What a convolution and the batch norm before or behind it give each other. The sums belong to
  // the value that the batch norm writes, the factors to the one that it reads.
  void hand_on_gradient(Step& step, const Node& n, const Needs& needs, int now) {
    if (needs.gradient_sums > 0)
      step.gradient_sums = gradient_sums_[at(n.inputs[1])] =
          add_buffer(BufferKind::Scratch, n.name, needs.gradient_sums, now);
    if (needs.gradient_factors > 0)
      step.gradient_factors = gradient_factors_[at(n.inputs[0])] =
          add_buffer(BufferKind::Scratch, n.name, needs.gradient_factors, now);
    if (plan_.gradient_sums_given(n) > 0) step.gradient_sums = gradient_sums_[at(n.output)];
    const Convolution* conv = last_convolution(n.operation);
    if (conv != nullptr && conv->gradient_on_load)
      step.gradient_factors = gradient_factors_[at(n.output)];
    touch(step.gradient_sums, now);
    touch(step.gradient_factors, now);
  }

  // The first kernel to reach a value's gradient writes it, later ones add to it.
  void add_input_gradient(Step& step, const Node& n, const Needs& needs, std::size_t k, int now) {
    const ValueId v = n.inputs[k];
    int& gradient = plan_.gradient_buffers_[at(v)];
    if (gradient != kNone) {
      if (needs.dx_overwrites)
        throw UsageError("layer " + n.name +
                         ": cannot train with its input read by other layers too");
      step.dx_write[k] = Write::Accumulate;
    } else if (k == 0 && needs.dx_may_be_dy && step.dy != kNone &&
               plan_.gradient_spec(v).bytes() == plan_.gradient_spec(n.output).bytes()) {
      gradient = step.dy;
    } else {
      gradient = add_buffer(BufferKind::Gradient, plan_.graph_.values()[at(v)].name,
                            plan_.gradient_spec(v).bytes(), now);
    }
    touch(gradient, now);
    step.dx[k] = gradient;
  }

  void keep_outputs() {
    const int end = static_cast<int>(plan_.steps_.size()) - 1;
    for (const Graph::Output& o : plan_.graph_.outputs())
      touch(plan_.value_buffers_[at(o.value)], end);
    for (ValueId v : values_of(plan_.graph_, options_.gradients_of)) {
      if (plan_.gradient_buffers_[at(v)] == kNone)
        throw UsageError("value " + plan_.graph_.values()[at(v)].name + ": no gradient reaches it");
      touch(plan_.gradient_buffers_[at(v)], end);
    }
  }

  void place() {
    std::vector<Lifetime> lifetimes;
    for (const Buffer& b : plan_.buffers_) lifetimes.push_back({b.bytes, b.first, b.last});
    const Placement placement = plan_memory(lifetimes);
    for (std::size_t i = 0; i < plan_.buffers_.size(); ++i)
      plan_.buffers_[i].offset = placement.offsets[i];
    plan_.arena_bytes_ = placement.total;
  }

  Plan& plan_;
  const PlanOptions& options_;
  const KernelMaker& maker_;
  std::vector<bool> needs_;     // per value: has a gradient
  std::vector<bool> dropped_;   // per value: not kept, and not made again yet
  std::vector<int> last_read_;  // per value: last forward node that reads it
  std::vector<int> saved_;      // per node
  std::vector<int> moments_, gradient_sums_, gradient_factors_;  // per value
};

Spec Plan::gradient_spec(ValueId value) const {
  const Node* maker = graph_.producer(value);
  if (maker == nullptr) return spec(value);
  return dfengine::gradient_spec(maker->operation, input_specs(*maker, specs_), spec(value));
}

Index Plan::moments_given(const Node& node) const {
  const auto* norm = std::get_if<BatchNorm>(&node.operation);
  if (norm == nullptr || !norm->moments_given) return 0;
  const int maker = graph_.values()[at(node.inputs[0])].producer;
  return kernel(maker).needs.moments;
}

Index Plan::gradient_sums_given(const Node& node) const {
  const auto* norm = std::get_if<BatchNorm>(&node.operation);
  if (norm == nullptr || !norm->gradient_sums_given) return 0;
  const int reader = graph_.values()[at(graph_.reader(node.output)->output)].producer;
  return kernel(reader).needs.gradient_sums;
}

Plan Plan::build(const Graph& graph, std::span<const Spec> input_specs, const PlanOptions& options,
                 const KernelMaker& maker) {
  Plan plan;
  plan.phase_ = options.phase;
  PlannedGraph planned = planned_graph(graph, input_specs, options, maker);
  plan.graph_ = std::move(planned.graph);
  plan.left_out_ = std::move(planned.left_out);
  PlanBuilder(plan, options, maker).build(input_specs);
  return plan;
}

}  // namespace dfengine
