// A graph laid out for one phase and one batch size: a straight list of steps, and a place in
// memory for everything they touch. Nothing is chosen or allocated after this.
#pragma once

#include "engine/plan/kernel.h"
#include "engine/plan/plan_options.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

enum class BufferKind { Value, Gradient, Saved, Scratch };

// A range of the arena. Buffers whose lifetimes share a step share no byte, except where a kernel
// declared that it may overwrite its input: then both names stand for one buffer.
struct Buffer {
  BufferKind kind = BufferKind::Value;
  std::string name;
  Index bytes = 0;
  int first = 0, last = 0;  // steps, both included
  Index offset = 0;
};

inline constexpr int kNone = -1;

// Again: the forward of a value that was not kept for the backward steps behind it.
enum class StepKind { Forward, Again, Backward };
template <>
inline constexpr auto enum_names<StepKind> = names_for<StepKind>(
    "pass",
    {{"forward", StepKind::Forward}, {"again", StepKind::Again}, {"backward", StepKind::Backward}});

// One call of a kernel. Indices are into Plan::buffers, kNone where absent.
struct Step {
  StepKind kind = StepKind::Forward;
  int node = 0;
  std::array<int, kMaxInputs> x = {kNone, kNone};
  int y = kNone;
  int saved = kNone;
  int scratch = kNone;
  int moments = kNone;  // that this step makes, or is given
  // Backward only.
  int dy = kNone;
  std::array<int, kMaxInputs> dx = {kNone, kNone};
  std::array<Write, kMaxInputs> dx_write = {Write::Overwrite, Write::Overwrite};
  int gradient_sums = kNone, gradient_factors = kNone;  // that this step makes, or is given
};

class Plan {
 public:
  // input_specs in the order of graph.inputs(). Throws ShapeError from the operations, UsageError
  // where the graph cannot be trained as asked. Kernels are the maker's.
  static Plan build(const Graph& graph, std::span<const Spec> input_specs,
                    const PlanOptions& options, const KernelMaker& maker);

  Phase phase() const { return phase_; }
  // What was slower, or could not be offered.
  const std::vector<std::string>& left_out() const { return left_out_; }
  const Graph& graph() const { return graph_; }  // after the rewrites
  const std::vector<Spec>& specs() const { return specs_; }
  const Spec& spec(ValueId value) const { return specs_[static_cast<std::size_t>(value)]; }
  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  const Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  // Of a value's gradient (layers/operation.h, gradient_spec).
  Spec gradient_spec(ValueId value) const;
  // The buffer of a graph input or marked output, and of its gradient.
  int value_buffer(ValueId value) const { return value_buffers_[static_cast<std::size_t>(value)]; }
  int gradient_buffer(ValueId value) const {
    return gradient_buffers_[static_cast<std::size_t>(value)];
  }
  // Bytes of the moments of its input, and of its gradient's sums, that a node is given.
  Index moments_given(const Node& node) const;
  Index gradient_sums_given(const Node& node) const;
  const Kernel& kernel(int node) const { return kernels_[static_cast<std::size_t>(node)]; }
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
  std::vector<std::string> left_out_;
  Phase phase_ = Phase::Infer;
  Graph graph_;
  std::vector<Spec> specs_;
  std::vector<Step> steps_;
  std::vector<Buffer> buffers_;
  std::vector<int> value_buffers_, gradient_buffers_;
  std::vector<Kernel> kernels_;
  std::vector<bool> backward_;
  std::vector<Index> prepared_;
  std::vector<ParamSpec> trained_;
  Index arena_bytes_ = 0;
  Index prepared_bytes_ = 0;
};

}  // namespace dfengine
