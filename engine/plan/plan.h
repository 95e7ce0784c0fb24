// A graph laid out for one phase and one batch size: a straight list of steps, and a place in
// memory for everything they touch. Nothing is chosen, allocated or looked up after this.
#pragma once

#include <functional>
#include <optional>

#include "engine/plan/passes.h"
#include "layers/graph.h"

namespace dfengine {

enum class BufferKind { Value, Gradient, Saved, Scratch };

// A range of the arena. Buffers whose lifetimes share a step share no byte, except where a layer
// declared that it may overwrite its input: then both names stand for one buffer.
struct Buffer {
  BufferKind kind = BufferKind::Value;
  std::string name;
  Index bytes = 0;
  int first = 0, last = 0;  // steps, both included
  Index offset = 0;
};

inline constexpr int kNone = -1;

enum class StepKind { Forward, Backward };

// One layer call. Indices are into Plan::buffers, kNone where absent.
struct Step {
  StepKind kind = StepKind::Forward;
  int node = 0;
  std::array<int, kMaxInputs> x = {kNone, kNone};
  // What the batch norm that made x[0] saved, where it left its result to this layer: x[0] is then
  // its input, alive as long as its output would have been.
  int norm = kNone;
  int y = kNone;  // kNone also where the output is deferred
  int saved = kNone;
  int scratch = kNone;
  // Backward only.
  int dy = kNone;
  std::array<int, kMaxInputs> dx = {kNone, kNone};
  std::array<Write, kMaxInputs> dx_write = {Write::Overwrite, Write::Overwrite};
};

struct PlanOptions {
  Phase phase = Phase::Infer;
  // Train only: which parameters the optimiser moves. Backward is cut below the lowest of them, and
  // what stands below the cut runs in inference form.
  Trainable trainable = {};
  DeviceKind device = DeviceKind::Cpu;
  // Of a device: times what there is to choose from. Null: by the rule.
  cuda::Tuner* tuner = nullptr;
};

class Plan {
 public:
  // input_specs in the order of graph.inputs(). Throws ShapeError from the layers, UsageError where
  // the graph cannot be trained as asked.
  static Plan build(const Graph& graph, std::span<const Spec> input_specs,
                    const PlanOptions& options);

  Phase phase() const { return phase_; }
  DeviceKind device() const { return device_; }
  const Graph& graph() const { return graph_; }  // after the passes
  const std::vector<Spec>& specs() const { return specs_; }
  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  // The buffer of a graph input or marked output.
  int value_buffer(ValueId value) const { return value_buffers_[static_cast<std::size_t>(value)]; }
  const LayerPlan& layer_plan(int node) const { return layers_[static_cast<std::size_t>(node)]; }
  bool runs_backward(int node) const { return backward_[static_cast<std::size_t>(node)]; }
  Index arena_bytes() const { return arena_bytes_; }
  // Bytes of all prepared blocks (packed and folded weights), and where each node's begins.
  Index prepared_bytes() const { return prepared_bytes_; }
  Index prepared_offset(int node) const { return prepared_[static_cast<std::size_t>(node)]; }
  int forward_steps() const { return static_cast<int>(graph_.nodes().size()); }
  // Parameters whose gradients backward writes.
  const std::vector<ParamSpec>& trained() const { return trained_; }

 private:
  friend class PlanBuilder;
  Phase phase_ = Phase::Infer;
  DeviceKind device_ = DeviceKind::Cpu;
  Graph graph_;
  std::vector<Spec> specs_;
  std::vector<Step> steps_;
  std::vector<Buffer> buffers_;
  std::vector<int> value_buffers_;
  std::vector<LayerPlan> layers_;
  std::vector<bool> backward_;
  std::vector<Index> prepared_;
  std::vector<ParamSpec> trained_;
  Index arena_bytes_ = 0;
  Index prepared_bytes_ = 0;
};

}  // namespace dfengine
