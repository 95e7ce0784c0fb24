#include "engine/plan/plan.h"

#include <algorithm>

#include "engine/plan/memory_planner.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

Index aligned(Index bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

}  // namespace

// Lays the steps out in three sweeps: layers' wishes, steps with their buffers, memory.
class PlanBuilder {
 public:
  PlanBuilder(Plan& plan, const PlanOptions& options) : plan_(plan), options_(options) {}

  void build(std::span<const Spec> input_specs) {
    plan_.specs_ = plan_.graph_.infer(input_specs);
    ask_layers();
    add_inputs();
    const auto nodes = static_cast<int>(plan_.graph_.nodes().size());
    for (int i = 0; i < nodes; ++i) add_forward(i);
    for (int i = nodes - 1; i >= 0; --i)
      if (plan_.backward_[at(i)]) add_backward(i);
    keep_outputs();
    place();
  }

 private:
  const Node& node(int i) const { return plan_.graph_.nodes()[at(i)]; }

  void ask_layers() {
    const auto& nodes = plan_.graph_.nodes();
    if (plan_.phase_ == Phase::Train) {
      needs_ = needs_gradient(plan_.graph_, options_.trainable);
    } else {
      needs_.assign(plan_.graph_.values().size(), false);
    }
    std::vector<Spec> in;
    for (const Node& n : nodes) {
      in.clear();
      for (ValueId v : n.inputs) in.push_back(plan_.specs_[at(v)]);
      const bool backward = needs_[at(n.output)];
      plan_.backward_.push_back(backward);
      const int maker = plan_.graph_.values()[at(n.inputs[0])].producer;
      const bool norm_on_load = maker >= 0 && plan_.layers_[at(maker)].defers_output;
      const PlanQuery query{plan_.phase_,   backward,    in, plan_.specs_[at(n.output)],
                            options_.tuner, norm_on_load};
      plan_.layers_.push_back(options_.device == DeviceKind::Cpu ? n.layer->plan(query)
                                                                 : n.layer->device_plan(query));
      plan_.prepared_.push_back(plan_.prepared_bytes_);
      plan_.prepared_bytes_ += aligned(plan_.layers_.back().prepared);
      for (const ParamSpec& p : n.layer->params())
        if (backward && is_learned(p.role) && options_.trainable(p)) add_trained(p);
    }
    last_forward_use();
  }

  void add_trained(const ParamSpec& p) {
    if (std::ranges::any_of(plan_.trained_, [&](const ParamSpec& q) { return q.name == p.name; }))
      throw UsageError("parameter " + p.name + ": used by two layers, which cannot be trained");
    plan_.trained_.push_back(p);
  }

  // The last step that reads each value, so that a layer may overwrite it there.
  void last_forward_use() {
    last_read_.assign(plan_.graph_.values().size(), kNone);
    const auto& nodes = plan_.graph_.nodes();
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (ValueId v : nodes[i].inputs) last_read_[at(v)] = static_cast<int>(i);
    }
    const int never = static_cast<int>(2 * nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!plan_.backward_[i]) continue;
      const LayerPlan& layer = plan_.layers_[i];
      if (layer.backward_needs_input)
        for (ValueId v : nodes[i].inputs) last_read_[at(v)] = never;
      if (layer.backward_needs_output) last_read_[at(nodes[i].output)] = never;
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
    norms_.assign(plan_.graph_.values().size(), kNone);
    gradients_.assign(plan_.graph_.values().size(), kNone);
    for (ValueId v : plan_.graph_.inputs())
      plan_.value_buffers_[at(v)] = add_buffer(BufferKind::Value, plan_.graph_.values()[at(v)].name,
                                               plan_.specs_[at(v)].bytes(), 0);
  }

  void add_forward(int i) {
    const Node& n = node(i);
    const LayerPlan& layer = plan_.layers_[at(i)];
    const int now = static_cast<int>(plan_.steps_.size());
    Step step{StepKind::Forward, i};
    add_reads(step, n, now);
    if (layer.saved > 0)
      step.saved = add_buffer(BufferKind::Saved, n.layer->name(), layer.saved, now);
    if (layer.defers_output) {
      plan_.value_buffers_[at(n.output)] = step.x[0];
      norms_[at(n.output)] = step.saved;
    } else {
      step.y = forward_target(n, layer, i, now);
      plan_.value_buffers_[at(n.output)] = step.y;
    }
    if (layer.forward_scratch > 0)
      step.scratch = add_buffer(BufferKind::Scratch, n.layer->name(), layer.forward_scratch, now);
    plan_.steps_.push_back(step);
    saved_.push_back(step.saved);
  }

  void add_reads(Step& step, const Node& n, int now) {
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      step.x[k] = plan_.value_buffers_[at(n.inputs[k])];
      touch(step.x[k], now);
    }
    step.norm = norms_[at(n.inputs[0])];
    touch(step.norm, now);
  }

  // The output's buffer: the overwritten input's where the layer allows it and nobody reads that
  // input again, else a new one.
  int forward_target(const Node& n, const LayerPlan& layer, int i, int now) {
    const Spec& out = plan_.specs_[at(n.output)];
    if (layer.overwrites_input >= 0) {
      const ValueId v = n.inputs[at(layer.overwrites_input)];
      const bool is_input = plan_.graph_.values()[at(v)].producer < 0;
      // A layer that reads the value twice may read it elsewhere than where it writes.
      const bool read_once = std::ranges::count(n.inputs, v) == 1;
      if (last_read_[at(v)] == i && read_once && !is_input &&
          plan_.specs_[at(v)].bytes() == out.bytes()) {
        const int buffer = plan_.value_buffers_[at(v)];
        touch(buffer, now);
        return buffer;
      }
    }
    return add_buffer(BufferKind::Value, n.layer->name(), out.bytes(), now);
  }

  void add_backward(int i) {
    const Node& n = node(i);
    const LayerPlan& layer = plan_.layers_[at(i)];
    const int now = static_cast<int>(plan_.steps_.size());
    Step step{StepKind::Backward, i};
    step.dy = gradients_[at(n.output)];  // none for the loss: its seed is 1
    if (step.dy == kNone && !layer.starts_backward)
      throw UsageError("layer " + n.layer->name() + ": trainable, but no loss depends on it");
    touch(step.dy, now);
    if (layer.backward_needs_input) add_reads(step, n, now);
    if (layer.backward_needs_output) {
      step.y = plan_.value_buffers_[at(n.output)];
      touch(step.y, now);
    }
    step.saved = saved_[at(i)];
    touch(step.saved, now);
    for (std::size_t k = 0; k < n.inputs.size(); ++k)
      if (needs_[at(n.inputs[k])]) add_input_gradient(step, n, layer, k, now);
    if (layer.backward_scratch > 0)
      step.scratch = add_buffer(BufferKind::Scratch, n.layer->name(), layer.backward_scratch, now);
    plan_.steps_.push_back(step);
  }

  // The first layer to reach a value's gradient writes it, later ones add to it.
  void add_input_gradient(Step& step, const Node& n, const LayerPlan& layer, std::size_t k,
                          int now) {
    const ValueId v = n.inputs[k];
    int& gradient = gradients_[at(v)];
    if (gradient != kNone) {
      if (layer.dx_overwrites)
        throw UsageError("layer " + n.layer->name() +
                         ": cannot train with its input read by other layers too");
      step.dx_write[k] = Write::Accumulate;
    } else if (k == 0 && layer.dx_may_be_dy && step.dy != kNone &&
               plan_.specs_[at(v)].bytes() == plan_.specs_[at(n.output)].bytes()) {
      gradient = step.dy;
    } else {
      gradient = add_buffer(BufferKind::Gradient, plan_.graph_.values()[at(v)].name,
                            plan_.specs_[at(v)].bytes(), now);
    }
    touch(gradient, now);
    step.dx[k] = gradient;
  }

  void keep_outputs() {
    const int end = static_cast<int>(plan_.steps_.size()) - 1;
    for (const Graph::Output& o : plan_.graph_.outputs())
      touch(plan_.value_buffers_[at(o.value)], end);
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
  std::vector<bool> needs_;     // per value: has a gradient
  std::vector<int> last_read_;  // per value: last forward node that reads it
  std::vector<int> norms_;      // per value: what its deferred batch norm saved
  std::vector<int> gradients_;  // per value: buffer of its gradient
  std::vector<int> saved_;      // per node
};

Plan Plan::build(const Graph& graph, std::span<const Spec> input_specs,
                 const PlanOptions& options) {
  Plan plan;
  plan.phase_ = options.phase;
  plan.device_ = options.device;
  if (options.phase == Phase::Infer) {
    plan.graph_ = fold_inference(graph, std::vector<bool>(graph.values().size(), false));
  } else {
    if (!options.trainable) throw UsageError("a training plan needs to know what is trainable");
    const Graph frozen = freeze_statistics(graph, options.trainable);
    plan.graph_ =
        fuse_activations(fold_inference(frozen, needs_gradient(frozen, options.trainable)));
    if (options.device == DeviceKind::Cuda)
      plan.graph_ = defer_norms(plan.graph_, needs_gradient(plan.graph_, options.trainable));
  }
  PlanBuilder(plan, options).build(input_specs);
  return plan;
}

}  // namespace dfengine
