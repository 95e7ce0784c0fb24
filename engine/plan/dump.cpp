#include "engine/plan/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace dfengine {
namespace {

// "@offset" (hexadecimal) of a buffer, "-" for none.
std::string place(const Plan& plan, int buffer) {
  if (buffer == kNone) return "-";
  return fmt::format("@{:x}", plan.buffers()[at(buffer)].offset);
}

std::string inputs(const Plan& plan, const std::array<int, kMaxInputs>& buffers) {
  std::string text;
  for (int b : buffers)
    if (b != kNone) text += (text.empty() ? "" : ",") + place(plan, b);
  return text.empty() ? "-" : text;
}

// A line for each candidate that could not be timed.
std::string left_out(const Plan& plan) {
  std::set<std::string> seen;
  std::string text;
  for (int i = 0; i < plan.forward_steps(); ++i)
    for (const std::string& reason : plan.kernel(i).names.left_out)
      if (seen.insert(reason).second)
        text += fmt::format("left out, {}: {}\n", plan.node(i).name, reason);
  for (const std::string& reason : plan.left_out()) text += fmt::format("left out: {}\n", reason);
  return text;
}

// The most bytes alive in one step: what no planner can go below.
Index alive_peak(const Plan& plan) {
  Index peak = 0;
  for (int s = 0; s < static_cast<int>(plan.steps().size()); ++s) {
    Index alive = 0;
    for (const Buffer& b : plan.buffers())
      if (b.first <= s && s <= b.last) alive += b.bytes;
    peak = std::max(peak, alive);
  }
  return peak;
}

std::string dot_escape(const std::string& s) {
  std::string out;
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string kernels_text(const Plan& plan, const Step& step) {
  const KernelNames& names = plan.kernel(step.node).names;
  if (step.kind != StepKind::Backward) return names.forward;
  if (names.data_gradient == "own" && names.weight_gradient == "own") return "own";
  const std::string weight = "dw " + names.weight_gradient;
  const bool has_dx = std::ranges::any_of(step.dx, [](int buffer) { return buffer != kNone; });
  return has_dx ? "dx " + names.data_gradient + "; " + weight : weight;
}

std::string dump_text(const Plan& plan, bool with_kernels) {
  std::string text = fmt::format("{:>4} {:8} {:24} {:36} {:>22} {:>20} {:>12} {:>10} {:>10}{}\n",
                                 "step", "pass", "layer", "kind", "output", "from", "to", "saved",
                                 "scratch", with_kernels ? "  kernels" : "");
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const Step& s = plan.steps()[i];
    const Node& node = plan.node(s.node);
    const bool forward = s.kind != StepKind::Backward;
    text += fmt::format("{:4} {:8} {:24} {:36} {:>22} {:>20} {:>12} {:>10} {:>10}{}\n", i,
                        name_of(s.kind), node.name, kind(node.operation),
                        to_string(plan.spec(node.output).shape),
                        forward ? inputs(plan, s.x) : place(plan, s.dy),
                        forward ? place(plan, s.y) : inputs(plan, s.dx), place(plan, s.saved),
                        place(plan, s.scratch), with_kernels ? "  " + kernels_text(plan, s) : "");
  }
  text += left_out(plan);
  text += fmt::format(
      "{} steps, {} buffers; arena {} bytes ({} alive at once at most), prepared weights {} "
      "bytes\n",
      plan.steps().size(), plan.buffers().size(), plan.arena_bytes(), alive_peak(plan),
      plan.prepared_bytes());
  return text;
}

std::string dump_dot(const Plan& plan) {
  const auto& values = plan.graph().values();
  std::string text = "digraph plan {\n  rankdir=TB;\n  node [shape=box, fontname=\"sans\"];\n";
  const auto name = [&](ValueId v) {
    const int producer = values[at(v)].producer;
    return producer < 0 ? fmt::format("in{}", v) : fmt::format("n{}", producer);
  };
  for (ValueId v : plan.graph().inputs())
    text += fmt::format("  {} [label=\"{}\\n{}\", shape=ellipse];\n", name(v),
                        dot_escape(values[at(v)].name), to_string(plan.spec(v).shape));
  for (std::size_t i = 0; i < plan.graph().nodes().size(); ++i) {
    const Node& node = plan.graph().nodes()[i];
    text += fmt::format("  n{} [label=\"{}\\n{}\\n{}\"{}];\n", i, dot_escape(node.name),
                        kind(node.operation), to_string(plan.spec(node.output).shape),
                        plan.runs_backward(static_cast<int>(i)) ? ", style=bold" : "");
    for (ValueId v : node.inputs) text += fmt::format("  {} -> n{};\n", name(v), i);
  }
  return text + "}\n";
}

}  // namespace dfengine
